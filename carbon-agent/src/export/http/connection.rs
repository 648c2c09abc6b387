//! Bounds on connections: how many there may be, and how long one may keep us waiting. Without them, clients that connect
//! and say nothing would use up the descriptors that the sampler needs, or keep other readers out. `axum::serve` installs
//! no timer, so hyper's own limit on reading a request's head does nothing here.

use axum::serve::Listener;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

/// How many connections, and how patient we are with them.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// When there are more, the one that has kept us waiting longest makes room.
    pub connections: usize,
    /// For a whole request to come, and for something of an answer to be taken.
    pub exchange: Duration,
    /// Between an answer and the next request.
    pub idle: Duration,
    /// No connection lives longer, also one that says a byte now and then; clients reconnect by themselves.
    pub lifetime: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Far above what scrapers and people need.
            connections: 64,
            // Requests are a line and a few headers, and answers come from memory.
            exchange: Duration::from_secs(10),
            // Longer than usual scrape intervals, so that Prometheus keeps its connection.
            idle: Duration::from_secs(75),
            lifetime: Duration::from_secs(3600),
        }
    }
}

/// A listener that keeps to its limits.
pub struct Limited {
    inner: TcpListener,
    limits: Limits,
    room: Arc<Semaphore>,
    seats: Arc<Seats>,
}

impl Limited {
    pub fn new(inner: TcpListener, limits: Limits) -> Self {
        Self { inner, limits, room: Arc::new(Semaphore::new(limits.connections)), seats: Arc::default() }
    }
}

impl Listener for Limited {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        // axum's own listener waits and retries when descriptors run out.
        let (stream, address) = Listener::accept(&mut self.inner).await;
        if self.room.available_permits() == 0 {
            self.seats.vacate_one();
        }
        let permit = self.room.clone().acquire_owned().await.expect("the semaphore is never closed");
        (Connection::new(stream, permit, self.seats.clone(), self.limits), address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

/// What we wait for on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    /// The first request, or the rest of one that began.
    Request,
    /// Another request, after an answer.
    Next,
    /// That the other end takes what is written.
    Taken,
}

/// Where a connection sits: what it has us wait for, since when.
#[derive(Debug)]
struct Seat {
    waits: Waits,
    since: Instant,
    /// It is to end, for another.
    vacated: bool,
    waker: Option<Waker>,
}

/// All connections.
#[derive(Debug, Default)]
struct Seats(Mutex<Vec<Arc<Mutex<Seat>>>>);

impl Seats {
    /// Ends the connection that has kept us waiting longest.
    fn vacate_one(&self) {
        let seats = lock(&self.0);
        if let Some(seat) = seats.iter().filter(|seat| !lock(seat).vacated).min_by_key(|seat| lock(seat).since) {
            let mut seat = lock(seat);
            seat.vacated = true;
            if let Some(waker) = seat.waker.take() {
                waker.wake();
            }
        }
    }
}

/// Nothing that holds these locks can panic half-way.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection that ends when it keeps us waiting too long.
pub struct Connection {
    stream: TcpStream,
    limits: Limits,
    ends: Instant,
    sleep: Pin<Box<Sleep>>,
    seat: Arc<Mutex<Seat>>,
    seats: Arc<Seats>,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    fn new(stream: TcpStream, permit: OwnedSemaphorePermit, seats: Arc<Seats>, limits: Limits) -> Self {
        let since = Instant::now();
        let seat = Arc::new(Mutex::new(Seat { waits: Waits::Request, since, vacated: false, waker: None }));
        lock(&seats.0).push(seat.clone());
        let sleep = Box::pin(tokio::time::sleep_until(since + limits.exchange));
        Self { stream, limits, ends: since + limits.lifetime, sleep, seat, seats, _permit: permit }
    }

    /// The clock begins anew, for something else.
    fn wait_for(&mut self, waits: Waits) {
        let now = Instant::now();
        let patience = if waits == Waits::Next { self.limits.idle } else { self.limits.exchange };
        let mut seat = lock(&self.seat);
        (seat.waits, seat.since) = (waits, now);
        self.sleep.as_mut().reset((now + patience).min(self.ends));
    }

    /// The stream says nothing: the clock runs.
    fn pending<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        {
            let mut seat = lock(&self.seat);
            if seat.vacated {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
            seat.waker = Some(cx.waker().clone());
        }
        ready!(self.sleep.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn waits(&self) -> Waits {
        lock(&self.seat).waits
    }

    fn wrote(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if polled.is_ready() {
            self.wait_for(Waits::Next);
            return polled;
        }
        if self.waits() != Waits::Taken {
            self.wait_for(Waits::Taken);
        }
        self.pending(cx)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        lock(&self.seats.0).retain(|seat| !Arc::ptr_eq(seat, &self.seat));
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_read(cx, buf) {
            Poll::Pending => self.pending(cx),
            ready => {
                // A request has as long as that from its first byte, however its bytes trickle in.
                if self.waits() == Waits::Next {
                    self.wait_for(Waits::Request);
                }
                ready
            }
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(cx, polled)
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
