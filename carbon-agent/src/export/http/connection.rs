//! Bounds on connections: how many there may be, and how long one may be silent. Without them, clients that connect
//! and say nothing would use up the descriptors that the sampler needs.

use axum::serve::Listener;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

/// Far above what scrapers and people need.
const MAX_CONNECTIONS: usize = 64;
/// Longer than usual scrape intervals, so that Prometheus keeps its connection.
const SILENCE: Duration = Duration::from_secs(75);
/// No connection lives longer, also one that says a byte now and then; clients reconnect by themselves.
const LIFETIME: Duration = Duration::from_secs(3600);

/// A listener that accepts only while there is room.
pub struct Limited {
    inner: TcpListener,
    room: Arc<Semaphore>,
    silence: Duration,
}

impl Limited {
    pub fn new(inner: TcpListener) -> Self {
        Self::with_limits(inner, MAX_CONNECTIONS, SILENCE)
    }

    pub fn with_limits(inner: TcpListener, connections: usize, silence: Duration) -> Self {
        Self { inner, room: Arc::new(Semaphore::new(connections)), silence }
    }
}

impl Listener for Limited {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let permit = self.room.clone().acquire_owned().await.expect("the semaphore is never closed");
        // axum's own listener waits and retries when descriptors run out.
        let (stream, address) = Listener::accept(&mut self.inner).await;
        (Connection::new(stream, permit, self.silence), address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

/// A connection that ends when nothing was read or written for a while.
pub struct Connection {
    stream: TcpStream,
    silence: Duration,
    ends: Instant,
    sleep: Pin<Box<Sleep>>,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    fn new(stream: TcpStream, permit: OwnedSemaphorePermit, silence: Duration) -> Self {
        let sleep = Box::pin(tokio::time::sleep(silence));
        Self { stream, silence, ends: Instant::now() + LIFETIME, sleep, _permit: permit }
    }

    /// Passes on what the stream says; while it says nothing, the clock runs.
    fn watch<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            let deadline = (Instant::now() + self.silence).min(self.ends);
            self.sleep.as_mut().reset(deadline);
            return polled;
        }
        ready!(self.sleep.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.watch(cx, polled)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.watch(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
