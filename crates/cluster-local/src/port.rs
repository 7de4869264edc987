//! Ports of workloads: free on this machine, and never given to two living pods.

use std::collections::HashSet;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};

/// The ports that living pods have.
#[derive(Debug, Default)]
pub(crate) struct Ports {
    leased: Mutex<HashSet<u16>>,
}

impl Ports {
    /// A port that was free a moment ago.
    ///
    /// It cannot be held until the program binds it: a program that does not reuse addresses
    /// would be refused. The system gives out another number each time, and takes source
    /// ports of connections from the other half of the range, so that a loss is unlikely.
    pub(crate) fn lease(self: &Arc<Self>) -> io::Result<Port> {
        // All addresses, because most programs listen on all. Nothing is accepted: dropped at once.
        loop {
            let number = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?
                .local_addr()?
                .port();
            let fresh = self
                .leased
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(number);
            if fresh {
                return Ok(Port {
                    number,
                    ports: Arc::clone(self),
                });
            }
        }
    }
}

/// One pod's port; given back on drop.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    ports: Arc<Ports>,
}

impl Port {
    pub(crate) fn number(&self) -> u16 {
        self.number
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.ports
            .leased
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.number);
    }
}
