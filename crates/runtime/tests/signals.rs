//! Signals, sent for real. One test alone in its process, since they reach every handler in it.

use std::io;
use std::process::{Command, ExitStatus};

use penstock_runtime::signal::{Reloads, Second, Stops};
use tokio_util::sync::CancellationToken;

fn send(signal: &str) -> io::Result<ExitStatus> {
    let own = std::process::id().to_string();
    Command::new("kill").args([signal, &own]).status()
}

#[tokio::test]
async fn hangup_reloads_then_the_first_stop_drains_and_the_second_ends() {
    let stops = Stops::install().unwrap();
    let mut reloads = Reloads::install().unwrap();
    let stop = CancellationToken::new();
    let watching = tokio::spawn(stops.watch(stop.clone()));

    assert!(send("-HUP").unwrap().success());
    reloads.next().await;
    assert!(send("-HUP").unwrap().success());
    reloads.next().await;
    assert!(!stop.is_cancelled());

    assert!(send("-TERM").unwrap().success());
    stop.cancelled().await;
    assert!(!watching.is_finished());

    assert!(send("-INT").unwrap().success());
    assert_eq!(watching.await.unwrap(), Second);
}
