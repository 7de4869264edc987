//! Which events are changes, and that real ones arrive.

use std::fs;
use std::path::PathBuf;

use notify::event::{CreateKind, DataChange, ModifyKind, RemoveKind, RenameMode};

use super::*;

#[test]
fn reading_a_file_is_no_change_of_it() {
    let table = [
        (EventKind::Access(AccessKind::Read), false),
        (EventKind::Access(AccessKind::Open(AccessMode::Any)), false),
        (
            EventKind::Access(AccessKind::Close(AccessMode::Read)),
            false,
        ),
        (
            EventKind::Access(AccessKind::Close(AccessMode::Write)),
            true,
        ),
        (EventKind::Create(CreateKind::File), true),
        (EventKind::Modify(ModifyKind::Data(DataChange::Any)), true),
        (EventKind::Modify(ModifyKind::Name(RenameMode::To)), true),
        (EventKind::Remove(RemoveKind::File), true),
    ];
    for (kind, change) in table {
        assert_eq!(is_change(kind), change, "{kind:?}");
    }
}

#[tokio::test]
async fn a_file_that_is_written_or_replaced_is_noticed_and_its_neighbour_is_not() {
    let name = format!("penstock-files-{}", std::process::id());
    let folder: PathBuf = std::env::temp_dir().join(name);
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("hello.yaml");
    fs::write(&file, "one").unwrap();
    let mut reloads = Reloads::watch(std::slice::from_ref(&file)).unwrap();
    let mut neighbour = Reloads::watch(&[folder.join("other.yaml")]).unwrap();

    fs::write(&file, "two").unwrap();
    reloads.next().await;

    let swap = folder.join("hello.yaml.swp");
    fs::write(&swap, "three").unwrap();
    fs::rename(&swap, &file).unwrap();
    reloads.next().await;

    // The neighbour's own change comes after all others, and must be the first it hears of.
    assert!(
        tokio::time::timeout(Duration::ZERO, neighbour.changed.notified())
            .await
            .is_err()
    );
    fs::write(folder.join("other.yaml"), "four").unwrap();
    neighbour.next().await;
    fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn a_change_outlives_the_future_that_took_note_of_it() {
    let (changed, mut burst) = (Notify::new(), None);
    changed.notify_one();
    // It has taken the change, and waits for more of them.
    let broken_off = tokio::time::timeout(Duration::ZERO, settled(&changed, &mut burst));
    assert!(broken_off.await.is_err());
    settled(&changed, &mut burst).await;
    assert!(burst.is_none());
}
