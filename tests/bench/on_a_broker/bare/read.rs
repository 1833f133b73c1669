//! The baselines of reading logs: without use of the entries, and parsing batches.

use futures_util::{FutureExt, StreamExt};
use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};

use super::super::filling::offset;
use super::super::measured_process::{ATTACHED, TAKING};
use super::{channel, connect, say};

/// The prefetch of a worker's log, and of its snapshots.
const LOG: (u16, u32) = (256, 64);
const SNAPSHOT: (u16, u32) = (64, 16);

/// Reads logs concurrently from their beginnings, each up to an offset and on its own connection,
/// like a worker.
pub async fn drain(logs: Vec<(String, u64)>, use_body: fn(&[u8])) {
    let each = logs.into_iter().map(|(log, end)| async move {
        let channel = channel().await;
        let first = AMQPValue::LongString("first".into());
        let attached = || say(ATTACHED, 0);
        let read = follow(&channel, &log, first, LOG, end, attached, use_body).await;
        // Kept open until the end, since the CPU time of a thread is lost when the thread ends.
        (read, channel)
    });
    let done = each.collect::<tokio::task::JoinSet<_>>().join_all().await;
    say(TAKING, done.iter().map(|(read, _)| read).sum());
    std::future::pending::<()>().await;
}

/// Reads a snapshot's messages, then the log after it.
pub async fn restart(snapshot: (&str, u64, u64), log: (&str, u64, u64)) {
    let connection = connect().await;
    let channel = connection.create_channel().await.expect("a channel");
    let (queue, from, to) = snapshot;
    follow(&channel, queue, at(from), SNAPSHOT, to, || (), |_| ()).await;
    let channel = connection.create_channel().await.expect("a channel");
    let (queue, from, to) = log;
    let attached = || say(ATTACHED, 0);
    let read = follow(&channel, queue, at(from), LOG, to, attached, |_| ()).await;
    say(TAKING, read);
    std::future::pending::<()>().await;
}

fn at(offset: u64) -> AMQPValue {
    AMQPValue::LongLongInt(offset.cast_signed())
}

/// Reads up to the offset `to`. Returns the number of players' entries.
async fn follow(
    channel: &Channel,
    queue: &str,
    from: AMQPValue,
    (prefetch, ack_every): (u16, u32),
    to: u64,
    attached: impl FnOnce(),
    use_body: fn(&[u8]),
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
        // Workers' entries are appended through the default exchange.
        read += u64::from(!delivery.exchange.as_str().is_empty());
        use_body(&delivery.data);
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
