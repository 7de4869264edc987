//! How many pods: bursts, limits, many services at once, load, and back to zero.

use crate::harness::{Load, Options, Service, Up, tests};

tests! {
    two_hundred_at_once_get_twenty_pods_in_one_step_of_ten_requests_each;
    fifty_services_woken_at_once_all_answer;
    load_brings_pods_and_each_request_spends_what_it_asks_for;
    an_idle_service_goes_to_zero_and_is_woken_again;
    bounds_hold_from_the_start;
}

async fn two_hundred_at_once_get_twenty_pods_in_one_step_of_ten_requests_each() {
    let service = Service::autoscale("burst").spec("containerConcurrency: 10");
    let up = Up::start(&[service], Options::flags(&["--workers", "1"])).await;
    // All are in the kernel's hands before the first is looked at.
    up.freeze().await;
    let mut waiting = Vec::new();
    for _ in 0..200 {
        waiting.push(
            up.gateway
                .ask("burst.default.example.com", "/?sleep=300")
                .await,
        );
    }
    up.thaw();
    for client in &mut waiting {
        let answer = client.read_response().await;
        assert_eq!(answer.head.status, 200, "{:?}", answer.body);
        let most = answer.head.header("x-concurrency-max").unwrap();
        assert!(most.parse::<u32>().unwrap() <= 10, "{most} inside at once");
    }
    let decisions = up.state().await.decisions("burst-00001");
    let (from, to, why) = &decisions[0];
    assert_eq!((*from, *to), (0, 20), "{why}");
    let told = up.output.lines_with("default/burst-00001 0 -> 20: ");
    assert_eq!(told.len(), 1, "{told:?}");
    up.stop().await;
}

async fn fifty_services_woken_at_once_all_answer() {
    let names: Vec<String> = (0..50).map(|number| format!("hello-{number}")).collect();
    let services: Vec<Service> = names
        .iter()
        .map(|name| Service::hello(name).env("TARGET", name))
        .collect();
    let up = Up::with(&services).await;
    up.freeze().await;
    let mut waiting = Vec::new();
    for (service, name) in services.iter().zip(&names) {
        waiting.push((up.gateway.ask(&service.host(), "/").await, name));
    }
    up.thaw();
    for (client, name) in &mut waiting {
        let answer = client.read_response().await;
        assert_eq!(answer.head.status, 200, "{:?}", answer.body);
        assert_eq!(answer.body, format!("Hello {name}!\n"));
    }
    up.stop().await;
}

async fn load_brings_pods_and_each_request_spends_what_it_asks_for() {
    let host = "autoscale.default.example.com";
    let service = Service::autoscale("autoscale")
        .annotated("target", 2)
        .annotated("max-scale", 4)
        .spec("containerConcurrency: 2");
    let up = Up::with(&[service]).await;
    // 16 connections, each of which asks again at once: twice of what four pods hold.
    let load = Load::start(up.gateway, host, "/?sleep=50&prime=1000&bloat=1", 16_000);
    let state = up.until_state("four pods", |state| state.ready("autoscale-00001") == 4);
    let decisions = state.await.decisions("autoscale-00001");
    assert!(decisions.iter().all(|(_, to, _)| *to <= 4), "{decisions:?}");
    up.until_state("a line before them", |state| {
        state.figure("autoscale-00001", "waiting") > 0
            && state.figure("autoscale-00001", "in_flight") == 8
    })
    .await;
    let heard = load.stop().await;
    assert!(heard.failures.is_empty(), "{:?}", heard.failures);
    for text in heard.answers.keys() {
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("Allocated 1 Mb of memory."));
        assert_eq!(
            lines.next(),
            Some("The largest prime less than 1000 is 997.")
        );
        assert!(lines.next().unwrap().starts_with("Slept for "), "{text}");
    }
    up.stop().await;
}

async fn an_idle_service_goes_to_zero_and_is_woken_again() {
    let host = "hello.default.example.com";
    let service = Service::hello("hello").annotated("window", "6s");
    let up = Up::with(&[service]).await;
    for time in 1..=2 {
        assert_eq!(up.gateway.text(host, "/").await, "Hello World!\n");
        assert_eq!(up.state().await.ready("hello-00001"), 1);
        up.until_state("zero", |state| state.pods("hello-00001") == 0)
            .await;
        let decisions = up.state().await.decisions("hello-00001");
        let steps: Vec<(u64, u64)> = decisions.iter().map(|(from, to, _)| (*from, *to)).collect();
        assert_eq!(steps, [(0, 1), (1, 0)].repeat(time), "{decisions:?}");
        let pods = up
            .processes()
            .into_iter()
            .filter(|seen| seen.command.contains(" sample "));
        assert_eq!(pods.count(), 0);
    }
    up.stop().await;
}

async fn bounds_hold_from_the_start() {
    let kept = Service::hello("kept").annotated("min-scale", 2);
    let few = Service::autoscale("few")
        .annotated("max-scale", 3)
        .spec("containerConcurrency: 1");
    let up = Up::with(&[kept, few]).await;
    up.until_state("two pods that nobody asked for", |state| {
        state.ready("kept-00001") == 2
    })
    .await;
    let answers = up
        .gateway
        .get_all(30, "few.default.example.com", "/?sleep=20")
        .await;
    for answer in &answers {
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.headers["x-concurrency-max"], "1");
    }
    let state = up.state().await;
    assert!(state.pods("few-00001") <= 3);
    let decisions = state.decisions("few-00001");
    assert!(decisions.iter().all(|(_, to, _)| *to <= 3), "{decisions:?}");
    up.stop().await;
}
