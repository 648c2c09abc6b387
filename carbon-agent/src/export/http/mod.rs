//! The HTTP side: everything is a read of what was last published, so nothing here can change what is measured, and
//! a client that is slow, rude or many delays only itself.

mod accept;
mod connection;
mod page;
mod routes;

pub use routes::{Shared, router};

use connection::{Limited, Limits};
use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

/// How long requests under way may take after the agent was told to end.
const GRACE: Duration = Duration::from_secs(2);

/// An address that cannot be listened on.
#[derive(Debug)]
pub struct BindError {
    address: SocketAddr,
    source: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, source } = self;
        let port = address.port();
        write!(f, "cannot listen on {address}: {source}; ")?;
        match source.kind() {
            io::ErrorKind::AddrInUse => {
                write!(f, "stop what uses the port (ss -ltnp 'sport = :{port}'), or choose another with --listen")
            }
            io::ErrorKind::PermissionDenied => write!(f, "ports below 1024 need CAP_NET_BIND_SERVICE: choose another"),
            _ => write!(f, "choose an address of this host with --listen ADDR:PORT"),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Binds early, so that a port in use is known before anything is measured or written.
pub fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address)
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
        .map_err(|source| BindError { address, source })
}

/// What to warn of when others than this host can read the agent.
pub fn exposure_warning(address: SocketAddr) -> Option<String> {
    (!address.ip().is_loopback()).then(|| {
        format!(
            "{address} can be reached from other hosts without encryption or a token: process names, units and \
             container ids are readable there; put a proxy with TLS before it, or listen on 127.0.0.1"
        )
    })
}

/// Serves until `shutdown` completes, then lets requests under way end for a moment.
pub async fn serve(
    listener: TcpListener,
    shared: Arc<Shared>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let listener = Limited::new(tokio::net::TcpListener::from_std(listener)?, Limits::default());
    let (told, wait) = tokio::sync::oneshot::channel();
    let server = axum::serve(listener, router(shared)).with_graceful_shutdown(async move {
        shutdown.await;
        let _ = told.send(());
    });
    tokio::select! {
        result = server => result,
        () = async { let _ = wait.await; tokio::time::sleep(GRACE).await } => Ok(()),
    }
}

#[cfg(test)]
mod tests;
