//! The wait at the gate: its share of memory, its place in line, and what its caller is told
//! meanwhile or in the end.
//!
//! What such words look like is in `../waiting.rs`.

use std::sync::Arc;
use std::time::Duration;

use http::{Response, StatusCode};
use penstock_gate::{Admit, Refused, Slot};
use penstock_relay::body::{Body, Deadlines, Late};
use penstock_relay::deadline::Limits;
use tokio::time::{Instant, timeout, timeout_at};

use super::{Active, App, Asking, Inside};
use crate::budget::Charge;
use crate::demand::Open;
use crate::metrics::{Counted, Measured};
use crate::refusal::{NoRoom, RequestError};
use crate::revision::{Entry, Place};
use crate::waiting::{self, Told, Waiting};

/// Time for a caller who was told that it waits to take the end of that.
const LAST_WORD: Duration = Duration::from_secs(10);

/// How the first moments of a wait ended.
pub(super) enum Moment {
    Slot(Slot<Place>, Open),
    Waits(Box<Waiting>),
}

impl App {
    /// Waits for as long as its caller has patience, which is then told that it waits.
    pub(super) async fn wait_a_moment(
        &self,
        told: Told,
        revision: &Arc<Entry>,
        bytes: u64,
        limits: Limits,
        demand: Open,
    ) -> Result<Moment, RequestError> {
        let charge = self.charge(revision, bytes)?;
        let queued = Counted::new(&revision.gauges.queued);
        if !revision.gate.has_places() {
            self.urge(revision, false);
        }
        let mut admit = revision.gate.admit();
        let due = limits.answer_due();
        let moment = (limits.arrived() + told.patience()).min(due);
        match timeout_at(moment, &mut admit).await {
            Ok(Ok(slot)) => {
                revision.pace.left(Instant::now().into_std());
                Ok(Moment::Slot(slot, demand))
            }
            Ok(Err(refused)) => Err(self.refused(revision, refused)),
            Err(_elapsed) => Ok(Moment::Waits(Box::new(Waiting {
                told,
                revision: Arc::clone(revision),
                admit,
                due,
                since: limits.arrived(),
                _held: (charge, queued, demand),
            }))),
        }
    }

    /// The answer that lasts as long as the wait.
    pub(super) fn tell_wait(
        self: Arc<Self>,
        waiting: Waiting,
        mut measured: Measured,
    ) -> Response<Body<Inside>> {
        let deadlines = Deadlines {
            whole: waiting.due + LAST_WORD,
            idle: None,
            late: Late::Reset,
        };
        let answer = waiting.answer();
        measured.ends_with(answer.status());
        let inside = Inside {
            measured,
            held: None,
            shared: Arc::clone(&self.shared),
        };
        answer.map(|body| body.until(deadlines).holding(inside))
    }

    /// Waits for the first slot, and holds so many bytes meanwhile.
    pub(super) async fn wait_in_line(
        &self,
        asking: &Asking<'_>,
        bytes: u64,
    ) -> Result<Active, RequestError> {
        let _charge = self.charge(asking.revision, bytes)?;
        self.wait(asking, asking.revision.gate.admit()).await
    }

    /// Waits for a slot, counted as one who waits.
    pub(super) async fn wait(
        &self,
        asking: &Asking<'_>,
        admit: Admit<Place>,
    ) -> Result<Active, RequestError> {
        let revision = asking.revision;
        let _waiting = Counted::new(&revision.gauges.queued);
        // Nobody reads the body meanwhile, and with it that the caller has left.
        let noticing = || asking.caller.notice_leaving();
        let _noticing = asking.has_body.then(noticing);
        if !revision.gate.has_places() {
            self.urge(revision, false);
        }
        let admitted = match asking.tells {
            true => Box::pin(tell_meanwhile(asking, admit)).await,
            false => admit.await,
        };
        let slot = admitted.map_err(|refused| self.refused(revision, refused))?;
        revision.pace.left(Instant::now().into_std());
        Ok(Active::new(slot, revision))
    }

    /// Its share of the memory for those who wait.
    pub(super) fn charge(&self, revision: &Arc<Entry>, bytes: u64) -> Result<Charge, RequestError> {
        let charge = self.shared.budget.charge(revision, bytes);
        let charge = charge.ok_or_else(|| self.no_room(revision, NoRoom::Memory))?;
        if revision.gate.waiting() == 0 {
            revision.pace.line_begins(Instant::now().into_std());
        }
        Ok(charge)
    }

    fn refused(&self, revision: &Entry, refused: Refused) -> RequestError {
        match refused {
            Refused::Full => self.no_room(revision, NoRoom::Line),
            Refused::Closed if self.shared.explains_removal => {
                RequestError::Removed(revision.id.clone())
            }
            Refused::Closed => RequestError::Gone,
        }
    }

    fn no_room(&self, revision: &Entry, why: NoRoom) -> RequestError {
        let waiting = revision.gate.waiting();
        let (longest, now) = (revision.longest(), Instant::now().into_std());
        RequestError::NoRoom {
            why,
            overflow: self.shared.overflow,
            retry_after: revision.pace.retry_after(waiting, longest, now),
        }
    }
}

/// Waits, and says every now and then how it goes on.
async fn tell_meanwhile(
    asking: &Asking<'_>,
    mut admit: Admit<Place>,
) -> Result<Slot<Place>, Refused> {
    let Asking {
        revision,
        caller,
        limits,
        ..
    } = *asking;
    // At once, as soon as it stands in line.
    let mut pause = Duration::ZERO;
    loop {
        if let Ok(admitted) = timeout(pause, &mut admit).await {
            return admitted;
        }
        let words = waiting::interim(revision, limits.arrived());
        caller.interim(StatusCode::EARLY_HINTS, &words);
        pause = waiting::EVERY;
    }
}
