// A player: its stream is active while the film plays.

use std::{error::Error, future::Future};

use streamwatch::client::{Client, Metadata, OpenRequest, PlaybackState, Player};

/// Plays `film` to its end, unless the account already plays on two other devices or another client
/// stops the stream. Returns the final state of the stream.
pub async fn play(
    client: Client,
    account: &str,
    film: impl Future<Output = ()>,
) -> Result<PlaybackState, Box<dyn Error>> {
    let player = Player::new(client, "acme".parse()?);
    let request = OpenRequest {
        metadata: Metadata::new(&mut [("device", "tv")])?,
        max_active: Some(2),
        ..OpenRequest::default()
    };
    // Takes at most 2 s. Without a reply, play: the heartbeats take effect.
    let mut playback = player.open(account.parse()?, request).await;
    if let PlaybackState::Refused { activity, .. } = playback.state() {
        println!("{account} plays on {} devices", activity.streams.len());
        return Ok(playback.state());
    }
    // Heartbeats are sent in the background, and the first reply may arrive only now.
    let ended_elsewhere = async {
        while !matches!(playback.state(), PlaybackState::Stopped(_)) && playback.changed().await {}
    };
    tokio::select! {
        () = film => {}
        () = ended_elsewhere => {}
    }
    let state = playback.state();
    playback.stop().await;
    Ok(state)
}
