//! The two servers: each takes a request's body and answers 200.

use std::convert::Infallible;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use pollgate::http1::{
    Connection, HeadLimits, Request, Response, ServeLimits, Service, Times, accept, serve as serve_http1,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const MOST_BODY_BYTES: usize = 1 << 20;

/// Longer than any measurement: idle connections stay.
const TIMES: Times = Times { idle: Duration::from_secs(600), ..Times::CLIENT };

/// Serves until the process is told to end, and says where.
pub fn serve(which: &str) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = accept::bind(([127, 0, 0, 1], 0).into()).unwrap();
        println!("{}", listener.local_addr().unwrap());
        match which {
            "http1" => with_http1(listener).await,
            "hyper" => with_hyper(listener).await,
            _ => panic!("there is no listener {which}"),
        }
    });
    ExitCode::SUCCESS
}

struct Accepted;

impl Service for Accepted {
    async fn call(&self, _: Request) -> Response {
        Response::new(200).reason("Successful")
    }
}

async fn with_http1(listener: TcpListener) {
    let (service, stop) = (Arc::new(Accepted), CancellationToken::new());
    let limits = ServeLimits { head: HeadLimits::default(), body: MOST_BODY_BYTES, times: TIMES };
    let token = stop.clone();
    let handle = move |stream, peer| {
        let (service, stop) = (service.clone(), token.child_token());
        async move { serve_http1(Connection::new(stream), peer, &*service, || limits, stop).await }
    };
    accept::accept(listener, stop, TaskTracker::new(), handle, || ()).await;
}

async fn with_hyper(listener: TcpListener) {
    let handle = |stream: TcpStream, _| async move {
        let service = service_fn(|request: hyper::Request<Incoming>| async move {
            let status = if read(request.into_body()).await.is_some() { 200 } else { 400 };
            let mut response = hyper::Response::new(Nothing);
            *response.status_mut() = status.try_into().unwrap();
            Ok::<_, Infallible>(response)
        });
        let mut builder = Builder::new();
        // The one time limit that it has: for the head of a request, the wait for it included.
        builder.timer(TokioTimer::new()).header_read_timeout(TIMES.idle);
        let _ = builder.serve_connection(TokioIo::new(stream), service).await;
    };
    accept::accept(listener, CancellationToken::new(), TaskTracker::new(), handle, || ()).await;
}

/// The whole body in one piece, as a message needs it; `None` if it is too large or does not end.
async fn read(mut body: Incoming) -> Option<Bytes> {
    let mut whole = Vec::new();
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        if let Ok(data) = frame.ok()?.into_data() {
            whole.extend_from_slice(&data);
        }
        if whole.len() > MOST_BODY_BYTES {
            return None;
        }
    }
    Some(whole.into())
}

/// No content.
struct Nothing;

impl Body for Nothing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        true
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(0)
    }
}
