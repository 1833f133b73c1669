//! Events to send again after their batch was rejected because of its partition.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use super::{
    StreamNews,
    awaited::Awaited,
    events::{Events, UnconfirmedMessage},
};
use crate::{
    client::BadNews,
    domain::{AccountId, StreamId, Tenant},
};

/// Time from the rejection for which an event is sent again.
pub(super) const REPEAT_FOR: Duration = Duration::from_secs(30);

/// Events to send again, each alone, in the order of their messages. Their callers have received the
/// confirm of the batch.
#[derive(Default)]
pub(super) struct Repeated(VecDeque<Part>);

struct Part {
    number: u64,
    events: Events,
    /// The index of the next event.
    next: usize,
    until: Instant,
}

/// An event to send again, or lost.
pub(super) enum Repeat {
    Send(UnconfirmedMessage),
    Lost(StreamNews),
}

impl Repeated {
    /// Adds the events of a rejected batch, or of a repetition that was not confirmed.
    pub(super) fn push(&mut self, number: u64, events: Events, until: Instant) {
        let part = Part {
            number,
            events,
            next: 0,
            until,
        };
        let place = self.0.partition_point(|other| other.number < number);
        self.0.insert(place, part);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next event. Skips a heartbeat if a stop of its stream was sent or rejected later: the
    /// heartbeat would change nothing, and must not follow the stop.
    pub(super) fn next(&mut self, awaited: &Awaited, now: Instant) -> Option<Repeat> {
        loop {
            let part = self.0.front_mut()?;
            let index = part.next;
            part.next += 1;
            let (number, until) = (part.number, part.until);
            if index >= part.events.len() {
                self.0.pop_front();
                continue;
            }
            if now >= until {
                match part.events.news(index, BadNews::Lost) {
                    Some(news) => return Some(Repeat::Lost(news)),
                    None => continue,
                }
            }
            let Some((account, event)) = part.events.event(index) else {
                continue;
            };
            let tenant = part.events.tenant.clone();
            let stops_after = |stream| {
                awaited.stops_after(number, &tenant, &account, stream)
                    || self.stops_after(number, &tenant, &account, stream)
            };
            if event.event.stream().is_some_and(stops_after) {
                continue;
            }
            let alone = Events::alone(&tenant, &account, &event.event);
            return Some(Repeat::Send(UnconfirmedMessage {
                repeats: true,
                ..UnconfirmedMessage::new(alone, now, until - now)
            }));
        }
    }

    fn stops_after(
        &self,
        number: u64,
        tenant: &Tenant,
        account: &AccountId,
        stream: StreamId,
    ) -> bool {
        let mut later = self.0.iter().filter(|part| part.number > number);
        later.any(|part| part.events.stop(tenant, account, stream))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{Heartbeat, PlayerEvent, Stop},
        wire::PartitionNumber,
    };

    fn heartbeat(stream: StreamId) -> PlayerEvent {
        Heartbeat::of(stream).into()
    }

    fn stop(stream: StreamId) -> PlayerEvent {
        Stop::of(stream).into()
    }

    fn tenant() -> Tenant {
        Tenant::new("acme").unwrap()
    }

    fn alice() -> AccountId {
        AccountId::new("alice").unwrap()
    }

    fn batch(events: &[PlayerEvent]) -> Events {
        let here = PartitionNumber {
            partition: 0,
            partitions: 1,
        };
        let mut batch = Events::batch(&tenant(), &alice(), here);
        for event in events {
            assert!(batch.push(&alice(), event));
        }
        batch
    }

    /// The streams of all messages to send again, and those of lost events.
    fn rest(repeated: &mut Repeated, awaited: &Awaited, now: Instant) -> [Vec<StreamId>; 2] {
        let [mut sent, mut lost] = [Vec::new(), Vec::new()];
        while let Some(one) = repeated.next(awaited, now) {
            match one {
                Repeat::Send(message) => {
                    assert!(message.repeats && !message.events.is_batch());
                    sent.push(message.events.event(0).unwrap().1.event.stream().unwrap());
                }
                Repeat::Lost(news) => {
                    assert_eq!(news.news, BadNews::Lost);
                    lost.push(news.stream);
                }
            }
        }
        assert!(repeated.is_empty());
        [sent, lost]
    }

    #[test]
    fn the_events_of_rejected_batches_are_sent_again_in_the_order_of_the_batches() {
        let (mut repeated, awaited, now) =
            (Repeated::default(), Awaited::default(), Instant::now());
        let [a, b, c] = [(); 3].map(|()| StreamId::generate());
        repeated.push(2, batch(&[heartbeat(c)]), now + REPEAT_FOR);
        repeated.push(1, batch(&[heartbeat(a), stop(b)]), now + REPEAT_FOR);
        assert_eq!(rest(&mut repeated, &awaited, now), [vec![a, b, c], vec![]]);
    }

    #[test]
    fn a_heartbeat_never_follows_a_later_stop_of_its_stream() {
        let (mut repeated, mut awaited, now) =
            (Repeated::default(), Awaited::default(), Instant::now());
        let [sent, rejected, same, plays] = [(); 4].map(|()| StreamId::generate());
        let all = [
            heartbeat(sent),
            heartbeat(rejected),
            heartbeat(same),
            stop(same),
            heartbeat(plays),
        ];
        let (first, _) = awaited.push(batch(&all));
        let (second, _) = awaited.push(batch(&[stop(rejected)]));
        let _third = awaited.push(Events::alone(&tenant(), &alice(), &stop(sent)));
        for number in [second, first] {
            repeated.push(number, awaited.remove(number).unwrap(), now + REPEAT_FOR);
        }
        let expected = [vec![same, same, plays, rejected], vec![]];
        assert_eq!(rest(&mut repeated, &awaited, now), expected);
    }

    #[test]
    fn an_event_is_lost_after_30_s() {
        let (mut repeated, awaited, now) =
            (Repeated::default(), Awaited::default(), Instant::now());
        let [a, b] = [(); 2].map(|()| StreamId::generate());
        let events = || batch(&[heartbeat(a), stop(b)]);
        repeated.push(1, events(), now + REPEAT_FOR);
        let before = now + REPEAT_FOR - Duration::from_millis(1);
        assert_eq!(rest(&mut repeated, &awaited, before), [vec![a, b], vec![]]);
        repeated.push(1, events(), now + REPEAT_FOR);
        let after = now + REPEAT_FOR;
        assert_eq!(rest(&mut repeated, &awaited, after), [vec![], vec![a, b]]);
    }
}
