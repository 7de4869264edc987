//! `grpc.health.v1.Health/Check` over HTTP/2 by prior knowledge.

use std::net::SocketAddr;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, TE, USER_AGENT};
use http::{Method, Request, StatusCode, Version};
use http_body_util::{BodyExt, Limited};
use prost::Message;

use super::http2::Exchange;
use super::{AGENT, BODY_LIMIT, Failure, connect};

/// Compression flag and length in front of every gRPC message.
const PREFIX: usize = 5;

#[derive(Clone, PartialEq, Message)]
pub(super) struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    pub(super) service: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct HealthCheckResponse {
    #[prost(enumeration = "ServingStatus", tag = "1")]
    pub(super) status: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(super) enum ServingStatus {
    Unknown = 0,
    Serving = 1,
    NotServing = 2,
    ServiceUnknown = 3,
}

/// Asks the server at `addr` about `service`.
pub(super) async fn check(addr: SocketAddr, service: &str) -> Result<(), Failure> {
    let stream = connect(addr).await?;
    let exchange = Exchange::start(stream, request(addr, service)?, &addr.to_string()).await?;
    let (head, body) = exchange.answer.into_parts();
    if head.status != StatusCode::OK {
        return Err(Failure::Status {
            status: head.status,
        });
    }
    let body = Limited::new(body, BODY_LIMIT)
        .collect()
        .await
        .map_err(|error| not_serving(format!("unreadable ({error})")))?;
    let trailers = body.trailers().unwrap_or(&head.headers);
    if let Some(refusal) = refusal(trailers) {
        return Err(not_serving(refusal));
    }
    judge(&body.to_bytes())
}

fn request(addr: SocketAddr, service: &str) -> Result<Request<Bytes>, Failure> {
    let message = HealthCheckRequest {
        service: service.to_owned(),
    };
    let too_long = |_| Failure::Invalid {
        what: "gRPC service name",
        value: service.to_owned(),
    };
    let mut body = BytesMut::with_capacity(PREFIX + message.encoded_len());
    body.put_u8(0);
    body.put_u32(u32::try_from(message.encoded_len()).map_err(too_long)?);
    body.put(message.encode_to_vec().as_slice());
    Request::builder()
        .method(Method::POST)
        .version(Version::HTTP_2)
        .uri(format!("http://{addr}/grpc.health.v1.Health/Check"))
        .header(CONTENT_TYPE, HeaderValue::from_static("application/grpc"))
        .header(TE, HeaderValue::from_static("trailers"))
        .header(USER_AGENT, HeaderValue::from_static(AGENT))
        .body(body.freeze())
        .map_err(|_| Failure::Invalid {
            what: "address",
            value: addr.to_string(),
        })
}

/// The gRPC status, unless it says that all is well.
fn refusal(trailers: &HeaderMap) -> Option<String> {
    let text = |name| trailers.get(name).map(HeaderValue::to_str);
    match text("grpc-status") {
        Some(Ok("0")) => None,
        Some(Ok(status)) => {
            let message = text("grpc-message").and_then(Result::ok).unwrap_or("");
            Some(
                format!("refused, status {status} {message}")
                    .trim_end()
                    .to_owned(),
            )
        }
        Some(Err(_)) | None => Some("without a gRPC status".to_owned()),
    }
}

/// Passes for one message that says SERVING.
fn judge(body: &[u8]) -> Result<(), Failure> {
    let message = match body {
        [0, a, b, c, d, message @ ..]
            if u32::from_be_bytes([*a, *b, *c, *d]) as usize == message.len() =>
        {
            message
        }
        _ => return Err(not_serving("not one plain message".to_owned())),
    };
    let answer = HealthCheckResponse::decode(message)
        .map_err(|error| not_serving(format!("unreadable ({error})")))?;
    match ServingStatus::try_from(answer.status) {
        Ok(ServingStatus::Serving) => Ok(()),
        Ok(ServingStatus::NotServing) => Err(not_serving("NOT_SERVING".to_owned())),
        Ok(ServingStatus::ServiceUnknown) => Err(not_serving("SERVICE_UNKNOWN".to_owned())),
        Ok(ServingStatus::Unknown) => Err(not_serving("UNKNOWN".to_owned())),
        Err(_) => Err(not_serving(format!("of unknown kind {}", answer.status))),
    }
}

fn not_serving(answer: String) -> Failure {
    Failure::NotServing { answer }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// One message behind its prefix.
    fn framed(message: &[u8]) -> Vec<u8> {
        let length = u32::try_from(message.len()).unwrap();
        [&[0][..], &length.to_be_bytes(), message].concat()
    }

    proptest! {
        #[test]
        fn only_one_whole_message_that_says_serving_passes(status: i32, cut: prop::sample::Index, extra: u8) {
            let body = framed(&HealthCheckResponse { status }.encode_to_vec());
            prop_assert_eq!(judge(&body).is_ok(), status == 1);
            prop_assert!(judge(&body[..cut.index(body.len())]).is_err());
            prop_assert!(judge(&[&body[..], &[extra]].concat()).is_err());
        }

        #[test]
        fn fields_that_nobody_knows_change_nothing(status in 0..4, name in 2_u32..16, text in "[a-z]{0,20}") {
            // A field of another number, of length and bytes (proto3, wire type 2), on either side.
            let length = u8::try_from(text.len()).unwrap();
            let known = HealthCheckResponse { status }.encode_to_vec();
            let unknown = [&[u8::try_from(name << 3 | 2).unwrap(), length][..], text.as_bytes()].concat();
            for message in [[&known[..], &unknown].concat(), [&unknown[..], &known].concat()] {
                prop_assert_eq!(judge(&framed(&message)).is_ok(), status == 1);
            }
        }

        #[test]
        fn no_answer_is_too_strange(body in prop::collection::vec(any::<u8>(), 0..64), named in prop::option::of("[ -~]{0,20}")) {
            // Whatever passes begins as a message that is not packed, and is as long as it says.
            if judge(&body).is_ok() {
                let length = u32::from_be_bytes(body[1..5].try_into().unwrap());
                prop_assert_eq!((body[0], length as usize), (0, body.len() - PREFIX));
            }
            let mut trailers = HeaderMap::new();
            if let Some(status) = &named {
                trailers.insert("grpc-status", HeaderValue::try_from(status).unwrap());
            }
            prop_assert_eq!(refusal(&trailers).is_none(), named.as_deref() == Some("0"));
        }
    }
}
