//! Reading logs, and doing nothing with what they hold.

use futures_util::{FutureExt, StreamExt};
use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};

use super::super::filling::offset;
use super::super::party::{ATTACHED, TAKING};
use super::{channel, connect, say};

/// How a worker reads its log, and how it reads a snapshot.
const LOG: (u16, u32) = (2_000, 500);
const SNAPSHOT: (u16, u32) = (64, 16);

/// Reads logs from their beginnings, each to an offset, at once. Each is read over a connection of
/// its own, as a worker reads them.
pub async fn drain(logs: Vec<(String, u64)>) {
    let each = logs.into_iter().map(|(log, end)| async move {
        let channel = channel().await;
        let first = AMQPValue::LongString("first".into());
        let read = follow(&channel, &log, first, LOG, end, || say(ATTACHED, 0)).await;
        // Open to the end: what its thread has used is counted while there is that thread.
        (read, channel)
    });
    let done = each.collect::<tokio::task::JoinSet<_>>().join_all().await;
    say(TAKING, done.iter().map(|(read, _)| read).sum());
    std::future::pending::<()>().await;
}

/// Reads a snapshot's messages, then the log behind it.
pub async fn restart(snapshot: (&str, u64, u64), log: (&str, u64, u64)) {
    let connection = connect().await;
    let channel = connection.create_channel().await.expect("a channel");
    let (queue, from, to) = snapshot;
    follow(&channel, queue, at(from), SNAPSHOT, to, || ()).await;
    let channel = connection.create_channel().await.expect("a channel");
    let (queue, from, to) = log;
    let read = follow(&channel, queue, at(from), LOG, to, || say(ATTACHED, 0)).await;
    say(TAKING, read);
    std::future::pending::<()>().await;
}

fn at(offset: u64) -> AMQPValue {
    AMQPValue::LongLongInt(offset.cast_signed())
}

/// Reads up to the offset `to`; gives how many of them came from players.
async fn follow(
    channel: &Channel,
    queue: &str,
    from: AMQPValue,
    (prefetch, ack_every): (u16, u32),
    to: u64,
    attached: impl FnOnce(),
) -> u64 {
    let qos = channel.basic_qos(prefetch, BasicQosOptions::default());
    qos.await.expect("it is set");
    let mut arguments = FieldTable::default();
    arguments.insert("x-stream-offset".into(), from);
    let options = BasicConsumeOptions::default();
    let consume = channel.basic_consume(queue.into(), "".into(), options, arguments);
    let mut consumer = consume.await.expect("there is a log");
    attached();
    let (mut read, mut unacked) = (0, 0);
    loop {
        let delivery = consumer
            .next()
            .await
            .expect("it goes on")
            .expect("an entry");
        // Those of players: the rest is appended through the default exchange.
        read += u64::from(!delivery.exchange.as_str().is_empty());
        unacked += 1;
        if unacked == ack_every {
            unacked = 0;
            let options = BasicAckOptions { multiple: true };
            let _ = channel
                .basic_ack(delivery.delivery_tag, options)
                .now_or_never();
        }
        if offset(&delivery) >= to {
            return read;
        }
    }
}
