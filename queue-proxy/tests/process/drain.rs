//! From the signal to the end.

use std::time::{Duration, Instant};

use penstock_testkit::client::{Client, RawClient};
use penstock_testkit::workload::Workload;
use rustix::process::Signal;
use tokio::net::TcpStream;

use crate::world::{Program, QUIET, before, get, probe};

const NEVER: Duration = Duration::from_secs(3600);

async fn until_it_drains(program: &Program) {
    while probe(program).await != 503 {}
}

async fn until_closed(program: &Program) {
    while TcpStream::connect(program.at("main")).await.is_ok() {}
}

#[tokio::test]
async fn case_127_an_idle_program_ends_after_the_quiet_time() {
    let workload = Workload::start().await;
    for signal in [Signal::TERM, Signal::INT] {
        let program = before(workload.addr()).quiet(QUIET).start().await;
        let start = Instant::now();
        program.signal(signal);
        until_it_drains(&program).await;
        assert_eq!(program.ended().await.0, 0);
        assert!(start.elapsed() >= QUIET);
    }
}

#[tokio::test]
async fn case_127_a_request_starts_the_quiet_time_anew_and_probes_do_not() {
    let workload = Workload::start().await;
    let program = before(workload.addr()).quiet(QUIET).start().await;
    program.signal(Signal::TERM);
    until_it_drains(&program).await;
    tokio::time::sleep(QUIET / 2).await;
    let last = Instant::now();
    assert_eq!(get(program.at("main"), "/status/200").await.0, 200);
    // Probes until the end would keep it for ever if they counted.
    let addr = program.at("main");
    let probing = tokio::spawn(async move {
        while let Ok(mut client) = TcpStream::connect(addr).await {
            let probe = b"GET / HTTP/1.0\r\nUser-Agent: kube-probe/1\r\n\r\n";
            let _ = tokio::io::AsyncWriteExt::write_all(&mut client, probe).await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert_eq!(program.ended().await.0, 0);
    assert!(last.elapsed() >= QUIET);
    probing.await.unwrap();
}

#[tokio::test]
async fn case_128_a_hook_without_a_signal_is_answered_after_a_second_and_taken_back() {
    let workload = Workload::start().await;
    let program = before(workload.addr()).quiet(NEVER).start().await;
    assert_eq!(probe(&program).await, 200);
    let start = Instant::now();
    let hook = tokio::spawn(get_owned(program.at("admin")));
    until_it_drains(&program).await;
    assert_eq!(get(program.at("main"), "/status/200").await.0, 200);
    assert_eq!(hook.await.unwrap(), (200, String::new()));
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert_eq!(probe(&program).await, 200);
}

async fn get_owned(addr: std::net::SocketAddr) -> (u16, String) {
    get(addr, "/wait-for-drain").await
}

#[tokio::test]
async fn case_128_a_hook_whose_caller_leaves_is_taken_back_all_the_same() {
    let workload = Workload::start().await;
    let program = before(workload.addr()).quiet(NEVER).start().await;
    let hook = tokio::spawn(get_owned(program.at("admin")));
    until_it_drains(&program).await;
    hook.abort();
    while probe(&program).await != 200 {}
}

#[tokio::test]
async fn case_129_hook_and_signal_end_together_in_either_order() {
    let workload = Workload::start().await;
    // Longer than the second within which a hook waits for the signal.
    let quiet = Duration::from_millis(1300);
    for hook_first in [true, false] {
        let program = before(workload.addr()).quiet(quiet).start().await;
        let start = Instant::now();
        let hook = if hook_first {
            let hook = tokio::spawn(get_owned(program.at("admin")));
            until_it_drains(&program).await;
            program.signal(Signal::TERM);
            hook
        } else {
            program.signal(Signal::TERM);
            until_it_drains(&program).await;
            tokio::spawn(get_owned(program.at("admin")))
        };
        assert_eq!(hook.await.unwrap(), (200, String::new()));
        assert!(start.elapsed() >= quiet);
        assert_eq!(program.ended().await.0, 0);
    }
}

#[tokio::test]
async fn case_130_open_requests_end_well_and_nobody_new_comes_in() {
    let workload = Workload::start().await;
    let make = before(workload.addr()).quiet(Duration::ZERO);
    // Only what is not HTTP/1 has a limit.
    let program = make.with("PENSTOCK_DRAIN_GRACE_MS", "60000").start().await;
    let mut h1 = Client::http1(program.at("main")).await;
    let mut h2 = Client::h2c(program.at("main")).await;
    let asked = tokio::spawn(async move {
        let (h1, h2) = tokio::join!(h1.get("a", "/hold"), h2.get("a", "/hold"));
        (h1.unwrap().brief(), h2.unwrap().brief())
    });
    workload.until_inside(2).await;
    program.signal(Signal::TERM);
    until_closed(&program).await;
    workload.release(2);
    let held = (200, "held".to_owned());
    assert_eq!(asked.await.unwrap(), (held.clone(), held));
    assert_eq!(program.ended().await.0, 0);
}

#[tokio::test]
async fn case_131_a_second_signal_ends_it_at_once() {
    let workload = Workload::start().await;
    for second in [Signal::TERM, Signal::INT] {
        let mut program = before(workload.addr()).quiet(NEVER).start().await;
        let mut inside = RawClient::connect(program.at("main")).await;
        inside.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n").await;
        workload.until_inside(1).await;
        program.signal(Signal::TERM);
        program.until_logged("asked to stop").await;
        program.signal(second);
        assert_eq!(program.ended().await.0, 1);
        assert!(inside.read_to_close().await.is_empty());
        workload.until_inside(0).await;
    }
}

#[tokio::test]
async fn case_132_requests_that_come_one_after_the_other_during_the_drain_are_served() {
    let workload = Workload::start().await;
    let program = before(workload.addr()).quiet(QUIET).start().await;
    let start = Instant::now();
    program.signal(Signal::TERM);
    until_it_drains(&program).await;
    // Together they take longer than the quiet time.
    while start.elapsed() < QUIET * 2 {
        assert_eq!(get(program.at("main"), "/status/200").await.0, 200);
        tokio::time::sleep(QUIET / 10).await;
    }
    assert_eq!(program.ended().await.0, 0);
}

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n";

#[tokio::test]
async fn case_133_an_upgraded_connection_goes_on_until_its_caller_ends_it() {
    let workload = Workload::start().await;
    let program = before(workload.addr()).quiet(Duration::ZERO).start().await;
    let mut client = RawClient::connect(program.at("main")).await;
    client.send(UPGRADE).await;
    assert_eq!(client.read_head().await.status, 101);
    program.signal(Signal::TERM);
    until_closed(&program).await;
    client.send("still here").await;
    client.read_until(b"still here").await;
    client.end().await;
    assert!(client.read_to_close().await.is_empty());
    assert_eq!(program.ended().await.0, 0);
}

#[tokio::test]
async fn case_126_what_is_not_http1_is_cut_off_after_its_time() {
    let workload = Workload::start().await;
    let make = before(workload.addr()).quiet(Duration::ZERO);
    let program = make.with("PENSTOCK_DRAIN_GRACE_MS", "50").start().await;
    let mut client = RawClient::connect(program.at("main")).await;
    client.send(UPGRADE).await;
    assert_eq!(client.read_head().await.status, 101);
    program.signal(Signal::TERM);
    assert!(client.read_to_close().await.is_empty());
    let (code, rest) = program.ended().await;
    assert_eq!(code, 0);
    assert!(
        rest.contains("what did not end in time was cut off"),
        "{rest}"
    );
}
