//! Fewer pods: the idle ones go first.

use std::sync::Arc;

use penstock_testkit::kube::{ApiServer, Call, Controllers, NewPod, Running};
use penstock_types::stat::Stat;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::world::{World, deployment, id, put_activators, with_queue_proxy};

/// What a queue-proxy says that has so many requests inside.
async fn tell(listener: TcpListener, inside: f64) {
    let stat = Stat {
        pod_name: "pod".to_owned(),
        average_concurrent_requests: inside,
        ..Stat::default()
    };
    let body = prost::Message::encode_to_vec(&stat);
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/protobuf\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    loop {
        let Ok((mut stream, _)) = listener.accept().await else {
            return;
        };
        let mut request = [0; 1024];
        let _ = stream.read(&mut request).await;
        let _ = stream.write_all(&[head.as_bytes(), &body].concat()).await;
    }
}

/// Pods of which the last octet of the address says how busy they are: every other one is idle.
fn controllers(server: &ApiServer) -> Controllers {
    Controllers::setup(server)
        .on_start(|pod: NewPod| async move {
            let listener = TcpListener::bind((pod.ip, 9090)).await.unwrap();
            let inside = f64::from(pod.ip.octets()[3] % 2) * 5.0;
            let task = tokio::spawn(tell(listener, inside));
            Box::new(tokio_util::task::AbortOnDropHandle::new(task)) as Running
        })
        .start()
}

#[tokio::test]
async fn the_idlest_pods_are_marked_and_go() {
    let server = Arc::new(ApiServer::start_as_asked().await);
    put_activators(&server, &["127.9.0.1"]);
    server.put(with_queue_proxy(deployment("hello")));
    let controllers = controllers(&server);
    let world = World::watching(server).await;
    let id = id("hello");
    world.scale(&id, 6).await;
    world.until(&id, |it| it.ready().count() == 6).await;
    world.scale(&id, 3).await;
    let left = world.until(&id, |it| it.pods.len() == 3).await;
    let busy = |ip: std::net::IpAddr| ip.to_string().rsplit('.').next().unwrap().parse::<u8>();
    let busy = left
        .pods
        .iter()
        .filter(|pod| busy(pod.addr.ip()).unwrap() % 2 == 1);
    assert_eq!(busy.count(), 3, "{:?}", left.pods);
    let marks = |call: &Call| call.resource == "pods" && call.verb == "patch";
    assert_eq!(
        world.server.count_calls(marks),
        3,
        "only those that go are marked"
    );
    world.scale(&id, 0).await;
    world.until(&id, |it| it.pods.is_empty()).await;
    assert_eq!(
        world.server.count_calls(marks),
        3,
        "at zero nobody is asked"
    );
    drop(controllers);
}

#[tokio::test]
async fn pods_that_do_not_answer_do_not_keep_it_from_scaling_in() {
    let server = Arc::new(ApiServer::start_as_asked().await);
    put_activators(&server, &["127.9.0.1"]);
    server.put(with_queue_proxy(deployment("hello")));
    let world = World::autoscaler(server).await;
    let id = id("hello");
    world.scale(&id, 3).await;
    world.until(&id, |it| it.ready().count() == 3).await;
    world.scale(&id, 1).await;
    world.until(&id, |it| it.pods.len() == 1).await;
}
