//! Connections by the thousand, from which nothing comes.

use std::net::SocketAddr;

use penstock_testkit::workload::Workload;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::{before, get};

const CONNECTIONS: u64 = 20_000;
/// Descriptors that this process and the other need for other things.
const OTHERS: u64 = 500;
/// Private memory of the program for each of them, in bytes: what a debug build needs, doubled.
const EACH: u64 = 8 * 1024;
/// Connections that come when those have left.
const AGAIN: u64 = 5_000;
/// Room for what is not exactly the same the second time, in bytes; far less than [`AGAIN`] need.
const SLACK: u64 = 4 << 20;

/// How many connections this system allows, up to [`CONNECTIONS`].
fn allowed() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    let most = limit.maximum.unwrap_or(u64::MAX);
    CONNECTIONS.min(most.saturating_sub(OTHERS))
}

/// So many connections to `addr`, of which some have been used.
async fn crowd(addr: SocketAddr, count: u64) -> Vec<TcpStream> {
    let mut idle = Vec::new();
    for number in 0..count {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        // When it ends its port is free at once.
        stream.set_zero_linger().unwrap();
        if number % 20 == 0 {
            let request = b"GET /status/204 HTTP/1.1\r\nHost: a\r\n\r\n";
            stream.write_all(request).await.unwrap();
            assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
        }
        idle.push(stream);
    }
    // The latest to connect is served, so all before were accepted.
    assert_eq!(get(addr, "/status/200").await.0, 200);
    idle
}

#[tokio::test]
async fn twenty_thousand_idle_connections_cost_little_and_are_given_back() {
    let count = allowed();
    if count < CONNECTIONS {
        println!("not run with {CONNECTIONS} connections, but with {count}: the descriptor limit");
    }
    let workload = Workload::start().await;
    let program = before(workload.addr()).start().await;
    let addr = program.at("main");
    assert_eq!(get(addr, "/status/200").await.0, 200);
    let at_rest = program.private();
    let idle = crowd(addr, count).await;
    let most = program.private();
    assert!(
        most - at_rest < count * EACH,
        "{} bytes for {count} connections",
        most - at_rest
    );
    drop(idle);
    // What they had serves others; the allocator may keep it meanwhile.
    let idle = crowd(addr, AGAIN).await;
    let again = program.private();
    assert!(
        again < most + SLACK,
        "{at_rest}, {most}, then {again} bytes"
    );
    drop(idle);
}
