//! A web server with a certificate authority of its own, which answers as a test wants.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use lab::Namespace;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// How long a client may be silent.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is said to a request.
#[derive(Clone, Debug)]
pub enum Answer {
    /// 200 with this body.
    File(Vec<u8>),
    /// 302 to this place.
    Redirect(String),
    /// 200 with octets that do not end, and no length.
    Endless,
    /// 200 with this length announced, and nothing behind it.
    Announced(u64),
    /// The beginning of an answer, and then nothing.
    Silence,
}

/// Issues certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    file: PathBuf,
}

impl Authority {
    /// A new one, whose certificate is written into `folder`.
    ///
    /// # Errors
    /// It cannot be made or written.
    pub fn new(folder: &Path) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        let file = folder.join("authority.pem");
        std::fs::write(&file, certificate.pem())?;
        Ok(Self { issuer: Issuer::new(params, key), file })
    }

    /// The file with its certificate, for `SSL_CERT_FILE`.
    pub fn file(&self) -> &Path {
        &self.file
    }

    fn server(&self, names: &[&str]) -> Result<Arc<ServerConfig>> {
        let key = KeyPair::generate()?;
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = CertificateParams::new(names)?.signed_by(&key, &self.issuer)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)?;
        Ok(Arc::new(config))
    }
}

type Pages = Arc<Mutex<Vec<(String, Answer)>>>;

/// A server that runs until the program ends.
#[derive(Debug)]
pub struct Web {
    pages: Pages,
    requests: Arc<AtomicU64>,
    connections: Arc<AtomicU64>,
}

impl Web {
    /// Starts one on port 8443 of all of the namespace's addresses, under these names (and addresses).
    ///
    /// # Errors
    /// No certificate can be made, or the port is in use.
    pub fn start(namespace: &Namespace, authority: &Authority, names: &[&str]) -> Result<Self> {
        let config = authority.server(names)?;
        let any = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8443);
        let listener = namespace.inside(|| TcpListener::bind(any))?.context("port 8443")?;
        let web = Self { pages: Pages::default(), requests: Arc::default(), connections: Arc::default() };
        let (pages, requests, connections) =
            (Arc::clone(&web.pages), Arc::clone(&web.requests), Arc::clone(&web.connections));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                connections.fetch_add(1, Ordering::Relaxed);
                let (config, pages, requests) =
                    (Arc::clone(&config), Arc::clone(&pages), Arc::clone(&requests));
                // A client that goes away early is part of what is tested.
                std::thread::spawn(move || serve(stream, config, &pages, &requests));
            }
        });
        Ok(web)
    }

    /// Says so to requests for this path from now on.
    pub fn says(&self, path: &str, answer: Answer) {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        pages.retain(|(known, _)| known != path);
        pages.push((path.to_owned(), answer));
    }

    /// Requests so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Connections so far, with or without a request.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }
}

fn serve(stream: TcpStream, config: Arc<ServerConfig>, pages: &Pages, requests: &AtomicU64) -> Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut stream = StreamOwned::new(ServerConnection::new(config)?, stream);
    let mut head = Vec::new();
    let mut octets = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let length = stream.read(&mut octets)?;
        if length == 0 || head.len() > 16_384 {
            return Ok(());
        }
        head.extend_from_slice(&octets[..length]);
    }
    requests.fetch_add(1, Ordering::Relaxed);
    let head = String::from_utf8_lossy(&head);
    let path = head.split(' ').nth(1).unwrap_or_default();
    let answer = {
        let pages = pages.lock().unwrap_or_else(PoisonError::into_inner);
        pages.iter().find(|(known, _)| known == path).map(|(_, answer)| answer.clone())
    };
    match answer {
        None => write!(stream, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?,
        Some(Answer::File(body)) => {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len())?;
            stream.write_all(&body)?;
        }
        Some(Answer::Redirect(to)) => {
            write!(stream, "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")?;
        }
        Some(Answer::Announced(length)) => {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n")?;
            stream.flush()?;
            let _ = stream.read(&mut octets)?;
        }
        Some(Answer::Endless) => {
            write!(stream, "HTTP/1.1 200 OK\r\n\r\n")?;
            loop {
                stream.write_all(&octets)?;
            }
        }
        Some(Answer::Silence) => {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 600\r\n\r\nx")?;
            stream.flush()?;
            // Until the client gives up.
            let _ = stream.read(&mut octets)?;
        }
    }
    stream.conn.send_close_notify();
    stream.flush()?;
    Ok(())
}
