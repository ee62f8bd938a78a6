//! A WebSocket that echoes (RFC 6455): data frames come back as they are, pings are answered, a close is returned.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::State;
use crate::body::Body;

/// RFC 6455, 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const LARGEST_FRAME: u64 = 1 << 20;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

/// Answers the handshake and echoes on the connection once it is ours.
pub(super) fn accept(request: &mut Request<Incoming>, state: Arc<State>) -> Response<Body> {
    let Some(answer) = accept_value(request) else {
        let mut response = super::plain(StatusCode::UPGRADE_REQUIRED, "this is a WebSocket");
        response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        return response;
    };
    let upgrade = hyper::upgrade::on(request);
    tokio::spawn(async move {
        if let Ok(stream) = upgrade.await {
            state.websockets.fetch_add(1, Ordering::SeqCst);
            let ended = echo(TokioIo::new(stream)).await;
            state.websockets.fetch_sub(1, Ordering::SeqCst);
            tracing::trace!(?ended, "a WebSocket ended");
        }
    });
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, answer);
    response
}

/// `Sec-WebSocket-Accept` for a proper handshake (RFC 6455, 4.2).
fn accept_value(request: &Request<Incoming>) -> Option<HeaderValue> {
    let has = |name, wanted: &str| {
        let values = request.headers().get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|token| token.trim().eq_ignore_ascii_case(wanted))
    };
    if !has(header::UPGRADE, "websocket")
        || !has(header::CONNECTION, "upgrade")
        || !has(header::SEC_WEBSOCKET_VERSION, "13")
    {
        return None;
    }
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY)?;
    let mut hash = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(key.as_bytes());
    hash.update(GUID);
    HeaderValue::from_str(&STANDARD.encode(hash.finish())).ok()
}

async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    loop {
        let (first, mut payload) = read_frame(&mut stream).await?;
        let answer = if first & 0x0f == PING { first & 0xf0 | PONG } else { first };
        if first & 0x0f != PONG {
            write_frame(&mut stream, answer, &mut payload).await?;
        }
        if first & 0x0f == CLOSE {
            return stream.shutdown().await;
        }
    }
}

/// The first byte (final flag and opcode) and the unmasked payload of a frame (RFC 6455, 5.2).
async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<(u8, Vec<u8>)> {
    let first = stream.read_u8().await?;
    let second = stream.read_u8().await?;
    let length = match second & 0x7f {
        126 => u64::from(stream.read_u16().await?),
        127 => stream.read_u64().await?,
        short => u64::from(short),
    };
    // Clients must mask (5.1).
    if second & 0x80 == 0 || length > LARGEST_FRAME {
        return Err(io::Error::from(io::ErrorKind::InvalidData));
    }
    let mask = stream.read_u32().await?.to_be_bytes();
    let mut payload = vec![0; usize::try_from(length).unwrap_or(0)];
    stream.read_exact(&mut payload).await?;
    payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    Ok((first, payload))
}

async fn write_frame(stream: &mut (impl AsyncWrite + Unpin), first: u8, payload: &mut Vec<u8>) -> io::Result<()> {
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..=125 => frame.push(u8::try_from(short).unwrap_or(0)),
        medium @ 126..=0xffff => {
            frame.push(126);
            frame.extend_from_slice(&u16::try_from(medium).unwrap_or(0).to_be_bytes());
        }
        long => {
            frame.push(127);
            frame.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    frame.append(payload);
    stream.write_all(&frame).await?;
    stream.flush().await
}
