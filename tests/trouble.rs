//! Workloads that do not start, that crash, and clients that leave.

use crate::harness::{Folder, Options, Service, Up, tests, until};

tests! {
    a_workload_that_never_gets_ready_costs_its_own_requests_their_time;
    a_workload_that_crashes_at_its_start_is_told_once_with_its_last_words;
    a_program_that_is_not_there_is_told;
    a_crash_fails_who_is_inside_and_the_waiting_are_served_by_the_next needs "python3";
    an_answer_that_starts_or_goes_on_too_late_is_ended needs "node", "python3";
    a_client_that_leaves_frees_its_place_at_once;
    nothing_is_started_for_who_left_before_the_decision;
}

async fn a_workload_that_never_gets_ready_costs_its_own_requests_their_time() {
    let never = Service::shell("never", "exec sleep 1000").spec("timeoutSeconds: 2");
    let up = Up::with(&[never, Service::hello("hello")]).await;
    let gateway = up.gateway;
    let (late, fine) = tokio::join!(
        gateway.get_all(5, "never.default.example.com", "/"),
        gateway.get_all(5, "hello.default.example.com", "/"),
    );
    assert!(late.iter().all(|answer| answer.status == 504), "{late:?}");
    assert!(fine.iter().all(|answer| answer.status == 200), "{fine:?}");
    up.stop().await;
}

async fn a_workload_that_crashes_at_its_start_is_told_once_with_its_last_words() {
    let crash = Service::shell("crash", "echo boom >&2; exit 3").spec("timeoutSeconds: 2");
    let up = Up::with(&[crash, Service::hello("hello")]).await;
    let answer = up.gateway.get("crash.default.example.com", "/").await;
    assert_eq!(answer.status, 504, "{}", answer.text());
    // It was tried again and again,
    up.output.until_lines("] boom", 3).await;
    // and the reason said once.
    let told = up.output.lines_with("pod failed: the program ended");
    assert_eq!(told.len(), 1, "{told:?}");
    for word in ["default/crash-00001", "exit status: 3", "boom"] {
        assert!(told[0].contains(word), "{told:?}");
    }
    let state = up.state().await;
    let trouble = state.revision("crash-00001").unwrap()["trouble"].to_string();
    assert!(trouble.contains("boom"), "{trouble}");
    up.gateway.text("hello.default.example.com", "/").await;
    up.stop().await;
}

async fn a_program_that_is_not_there_is_told() {
    let missing = Service::command("missing", &["no-such-program"]).spec("timeoutSeconds: 1");
    let up = Up::with(&[missing]).await;
    let answer = up.gateway.get("missing.default.example.com", "/").await;
    assert_eq!(answer.status, 504, "{}", answer.text());
    let told = up.output.lines_with("no-such-program");
    assert_eq!(told.len(), 1, "{told:?}");
    up.stop().await;
}

async fn a_crash_fails_who_is_inside_and_the_waiting_are_served_by_the_next() {
    for concurrency in [1, 10] {
        crash_with_all_slots_taken(concurrency).await;
    }
}

async fn crash_with_all_slots_taken(concurrency: usize) {
    let host = "fragile.default.example.com";
    let folder = Folder::new();
    let service = Service::fragile("fragile", &folder)
        .annotated("max-scale", 1)
        .spec(&format!("containerConcurrency: {concurrency}"));
    let up = Up::with(&[service]).await;
    let mut inside = Vec::new();
    for _ in 0..concurrency {
        inside.push(up.gateway.ask(host, "/crash").await);
    }
    // Inside the process, not only on their way.
    until("all inside", async || {
        let files = std::fs::read_dir(folder.path()).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        let inside = names.filter(|name| name.starts_with("inside-")).count();
        (inside == concurrency).then_some(())
    })
    .await;
    let name = "fragile-00001";
    let mut waiting = Vec::new();
    for _ in 0..5 {
        waiting.push(up.gateway.ask(host, "/").await);
    }
    up.until_state("five in line", |state| state.figure(name, "waiting") == 5)
        .await;
    folder.write("crash", "");
    for client in &mut inside {
        let lost = client.read_response().await;
        assert_eq!(lost.head.status, 502, "{:?}", lost.body);
    }
    let mut served = Vec::new();
    for client in &mut waiting {
        let answer = client.read_response().await;
        assert_eq!(answer.head.status, 200, "{:?}", answer.body);
        served.push(answer.body);
    }
    served.dedup();
    assert_eq!(served.len(), 1, "one process after the crash: {served:?}");
    up.stop().await;
}

async fn an_answer_that_starts_or_goes_on_too_late_is_ended() {
    let folder = Folder::new();
    let services = [
        Service::fragile("late", &folder).spec("responseStartTimeoutSeconds: 1"),
        Service::node("stuck").spec("idleTimeoutSeconds: 1"),
    ];
    let up = Up::with(&services).await;
    let late = up.gateway.get("late.default.example.com", "/wait").await;
    assert_eq!(late.status, 504, "{}", late.text());
    // Its first event comes, and its second never does.
    let mut stuck = up.gateway.ask("stuck.default.example.com", "/events").await;
    let answer = stuck.read_response().await;
    assert_eq!(answer.head.status, 200);
    assert_eq!(answer.body, "data: first\n\n");
    assert!(!answer.complete, "it ends as if it were whole");
    up.stop().await;
}

async fn a_client_that_leaves_frees_its_place_at_once() {
    let name = "never-00001";
    let never = Service::shell("never", "exec sleep 1000");
    let up = Up::with(&[never]).await;
    let mut waiting = Vec::new();
    for _ in 0..10 {
        waiting.push(up.gateway.ask("never.default.example.com", "/").await);
    }
    up.until_state("ten in line", |state| state.figure(name, "waiting") == 10)
        .await;
    waiting.truncate(3);
    up.until_state("three in line", |state| state.figure(name, "waiting") == 3)
        .await;
    waiting.clear();
    up.until_state("nobody in line", |state| state.figure(name, "waiting") == 0)
        .await;
    up.stop().await;
}

async fn nothing_is_started_for_who_left_before_the_decision() {
    let services = [Service::hello("left"), Service::hello("stays")];
    let up = Up::start(&services, Options::flags(&["--workers", "1"])).await;
    // Both the requests and the ends of their connections are in the kernel's hands before the
    // first is looked at.
    up.freeze().await;
    for _ in 0..10 {
        drop(up.gateway.ask("left.default.example.com", "/").await);
    }
    let mut stays = up.gateway.ask("stays.default.example.com", "/").await;
    up.thaw();
    assert_eq!(stays.read_response().await.head.status, 200);
    let state = up.until_state("nobody in line", |state| {
        state.figure("left-00001", "waiting") == 0
    });
    let state = state.await;
    assert_eq!(state.decisions("left-00001"), []);
    assert_eq!(state.pods("left-00001"), 0);
    up.stop().await;
}
