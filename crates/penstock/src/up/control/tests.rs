//! What one line says of a change.

use super::*;

fn id(name: &str) -> RevisionId {
    RevisionId::new("default", name)
}

#[test]
fn one_line_says_what_a_changed_file_made_of_it() {
    let none = Changes::default();
    assert_eq!(summary(&none, false, false, &[]), "nothing changed");
    let changes = Changes {
        created: vec![id("hello-00002")],
        removed: vec![id("old-00001"), id("old-00002")],
    };
    assert_eq!(
        summary(&changes, true, true, &[id("hello-00002")]),
        "new default/hello-00002; gone default/old-00001, default/old-00002; routes changed; \
         the autoscaler has new settings; traffic waits for default/hello-00002 to be ready"
    );
}
