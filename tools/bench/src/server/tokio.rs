//! An echo server with tokio, as its users write one: a task for each connection, on the runtime's usual threads.

use std::io;

use ::tokio::io::{AsyncReadExt, AsyncWriteExt};
use ::tokio::net::{TcpListener, TcpStream, UdpSocket};
use ::tokio::runtime::Runtime;

use super::sockets::Sockets;

const BUFFER: usize = 64 << 10;

/// Echoes what comes on `sockets`.
pub(super) fn serve(sockets: Sockets) -> io::Result<()> {
    Runtime::new()?.block_on(async {
        let listener = TcpListener::from_std(sockets.tcp)?;
        ::tokio::spawn(answer_datagrams(UdpSocket::from_std(sockets.udp)?));
        loop {
            let (stream, _) = listener.accept().await?;
            // An error is that of a connection that is broken.
            ::tokio::spawn(echo(stream));
        }
    })
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = stream.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..length]).await?;
    }
}

async fn answer_datagrams(socket: UdpSocket) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).await?;
        socket.send_to(&buffer[..length], from).await?;
    }
}
