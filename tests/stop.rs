//! The end of it: SIGTERM answers what was accepted, and nothing is left, however it ends.

use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::harness::{Folder, Gateway, Service, Up, program, tests, until};

tests! {
    sigterm_answers_who_is_inside_and_who_waits needs "python3";
    sigterm_waits_for_a_pod_that_starts_slowly;
    sigint_is_like_sigterm_and_the_second_is_the_end needs "python3";
    sigterm_while_a_load_goes_on_breaks_no_answer;
    sigkill_leaves_nothing_behind;
    a_workload_that_does_not_listen_to_sigterm_is_killed;
}

const NAME: &str = "fragile-00001";
const HOST: &str = "fragile.default.example.com";

/// What is said when it was told to stop, and knows it.
const STOPPING: &str = "requests are still to be answered";

async fn sigterm_answers_who_is_inside_and_who_waits() {
    let folder = Folder::new();
    let service = Service::fragile("fragile", &folder)
        .annotated("max-scale", 2)
        .spec("containerConcurrency: 5");
    let mut up = Up::with(&[service]).await;
    let mut asked = Vec::new();
    for _ in 0..40 {
        asked.push(up.gateway.ask(HOST, "/wait").await);
    }
    up.until_state("ten inside, thirty in line", |state| {
        state.figure(NAME, "in_flight") == 10 && state.figure(NAME, "waiting") == 30
    })
    .await;
    up.signal(Signal::TERM);
    let said = up.output.until_line(STOPPING).await;
    assert!(said.contains("left=40"), "{said}");
    assert_eq!(up.page("/readyz").await.status, 503);
    folder.write("go", "");
    for client in &mut asked {
        let answer = client.read_response().await;
        assert_eq!(answer.head.status, 200, "{:?}", answer.body);
        assert_eq!(answer.body, "gone\n");
    }
    up.ended_well().await;
}

async fn sigterm_waits_for_a_pod_that_starts_slowly() {
    let folder = Folder::new();
    let penstock = program("penstock").display();
    let line = format!("until test -e go; do sleep 0.1; done; exec {penstock} sample hello");
    let mut up = Up::with(&[Service::shell("slow", &line).within(&folder)]).await;
    let mut asked = Vec::new();
    for _ in 0..5 {
        asked.push(up.gateway.ask("slow.default.example.com", "/").await);
    }
    up.until_state("five in line", |state| {
        state.figure("slow-00001", "waiting") == 5
    })
    .await;
    up.signal(Signal::TERM);
    let said = up.output.until_line(STOPPING).await;
    assert!(said.contains("left=5"), "{said}");
    folder.write("go", "");
    for client in &mut asked {
        assert_eq!(client.read_response().await.head.status, 200);
    }
    up.ended_well().await;
}

async fn sigint_is_like_sigterm_and_the_second_is_the_end() {
    let folder = Folder::new();
    let mut up = Up::with(&[Service::fragile("fragile", &folder)]).await;
    let mut client = up.gateway.ask(HOST, "/wait").await;
    up.until_state("one inside", |state| state.figure(NAME, "in_flight") == 1)
        .await;
    up.signal(Signal::INT);
    up.output.until_line(STOPPING).await;
    up.signal(Signal::INT);
    assert_eq!(up.ended().await.code(), Some(1));
    // Cut off, or told that its pod was.
    let answer = client.read_to_close().await;
    assert!(!answer.starts_with(b"HTTP/1.1 2"), "{answer:?}");
    until("the end of all", async || {
        up.processes().is_empty().then_some(())
    })
    .await;
}

async fn sigterm_while_a_load_goes_on_breaks_no_answer() {
    let mut up = Up::with(&[Service::autoscale("busy")]).await;
    let mut clients = JoinSet::new();
    for _ in 0..16 {
        clients.spawn(ask_until_refused(up.gateway));
    }
    up.until_state("load", |state| state.figure("busy-00001", "in_flight") > 0)
        .await;
    up.signal(Signal::TERM);
    up.ended_well().await;
    for (whole, broken) in clients.join_all().await {
        assert!(whole > 0);
        assert_eq!(broken, [""; 0]);
    }
}

/// Asks again and again, each time over a new connection, until none is accepted any more. Returns
/// how many answers were whole, and those that were not. A connection that got nothing at all was
/// still in the kernel's line when that was closed.
async fn ask_until_refused(gateway: Gateway) -> (usize, Vec<String>) {
    let (mut whole, mut broken) = (0, Vec::new());
    while let Ok(mut socket) = TcpStream::connect(gateway.0).await {
        let request = "GET /?sleep=20 HTTP/1.1\r\nHost: busy.default.example.com\r\n\
                       Connection: close\r\n\r\n";
        let _ = socket.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        if answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(" milliseconds.\n") {
            whole += 1;
        } else if !answer.is_empty() {
            broken.push(answer.into_owned());
        }
    }
    (whole, broken)
}

async fn sigkill_leaves_nothing_behind() {
    // The second has a grandchild in a session of its own, the third does not end at SIGTERM.
    let setsid = format!(
        "setsid sleep 1000 & exec {} sample hello",
        program("penstock").display()
    );
    let deaf = format!(
        "trap '' TERM; {} sample hello & sleep 1000; wait",
        program("penstock").display()
    );
    let services = [
        Service::hello("plain"),
        Service::shell("setsid", &setsid),
        Service::shell("deaf", &deaf),
    ];
    let mut up = Up::with(&services).await;
    for service in &services {
        up.gateway.text(&service.host(), "/").await;
    }
    until("both that sleep", async || {
        let running = up.processes();
        let sleeps = running
            .iter()
            .filter(|seen| seen.command.starts_with("sleep 1000"));
        (sleeps.count() == 2).then_some(())
    })
    .await;
    up.signal(Signal::KILL);
    assert_eq!(up.ended().await.code(), None);
    until("the end of all", async || {
        up.processes().is_empty().then_some(())
    })
    .await;
}

async fn a_workload_that_does_not_listen_to_sigterm_is_killed() {
    let deaf = format!(
        "trap '' TERM; {} sample hello & sleep 1000; wait",
        program("penstock").display()
    );
    let service = Service::shell("deaf", &deaf).spec("timeoutSeconds: 1");
    let up = Up::with(&[service]).await;
    up.gateway.text("deaf.default.example.com", "/").await;
    up.stop().await;
}
