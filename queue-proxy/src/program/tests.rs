//! What no caller can bring about.

use std::num::NonZeroUsize;

use super::*;
use crate::env;

/// A program with the least that a controller sets, at ports that are free.
fn program(workers: &Workers) -> Program {
    let get = |name: &str| {
        let value = match name {
            "USER_PORT" => "1",
            "CONTAINER_CONCURRENCY" | "QUEUE_SERVING_PORT" | "QUEUE_SERVING_TLS_PORT" => "0",
            "PENSTOCK_ADMIN_PORT" | "PENSTOCK_STATS_PORT" => "0",
            "REVISION_TIMEOUT_SECONDS" => "300",
            "SERVING_NAMESPACE" | "SERVING_CONFIGURATION" | "SERVING_REVISION" => "",
            "SERVING_POD" | "SERVING_POD_IP" => "",
            "SERVING_LOGGING_CONFIG" | "SERVING_LOGGING_LEVEL" => "",
            _ => return None,
        };
        Some(value.to_owned())
    };
    let setup = env::read(get, |_| false).unwrap();
    Program::start(setup, Vec::new(), workers).unwrap()
}

#[tokio::test]
async fn a_listener_that_takes_nobody_any_more_ends_the_program_also_while_it_drains() {
    let workers = Workers::start(NonZeroUsize::MIN).unwrap();
    let died: [fn(&Running) -> &CancellationToken; 2] =
        [|proxy| &proxy.plain.died, |proxy| &proxy.secured.died];
    for died in died {
        for drains in [false, true] {
            let program = program(&workers);
            let died = died(&program.proxy).clone();
            let stop = CancellationToken::new();
            if drains {
                stop.cancel();
            }
            let serving = tokio::spawn(program.serve(stop));
            tokio::task::yield_now().await;
            assert!(!serving.is_finished());
            died.cancel();
            assert_eq!(serving.await.unwrap(), Ended::Died);
        }
    }
}
