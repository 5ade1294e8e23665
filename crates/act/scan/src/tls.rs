//! TLS, without looking at whose certificate it is: an instance cannot have one of its address.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};

/// How long an answer to an old greeting is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// None only where the provider has no ciphers of its own default versions.
pub(crate) fn config() -> Option<Arc<ClientConfig>> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(Anybody(Arc::clone(&provider)));
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .ok()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Some(Arc::new(config))
}

pub(crate) fn session(config: &Arc<ClientConfig>, host: IpAddr) -> Option<ClientConnection> {
    ClientConnection::new(Arc::clone(config), ServerName::from(host)).ok()
}

/// Whether a greeting of TLS 1.0 or 1.1 is answered in kind (RFC 8996 forbids both). The greeting is that of RFC 2246, 7.4.1.2.
pub(crate) fn takes_old(address: SocketAddr) -> Option<&'static str> {
    let old = |minor: u8| -> std::io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        // ECDHE-RSA, ECDHE-ECDSA and RSA, each with AES-128-CBC-SHA.
        let ciphers = [0xc0, 0x13, 0xc0, 0x09, 0x00, 0x2f];
        // Curve P-256, and uncompressed points.
        let extensions = [
            0, 10, 0, 4, 0, 2, 0, 23, // supported groups
            0, 11, 0, 2, 1, 0, // point formats
        ];
        let mut hello = vec![3, minor];
        hello.extend([7; 32]);
        hello.extend([0, 0, ciphers.len() as u8]);
        hello.extend(ciphers);
        hello.extend([1, 0, 0, extensions.len() as u8]);
        hello.extend(extensions);
        let mut record = vec![
            22,
            3,
            1,
            0,
            hello.len() as u8 + 4,
            1,
            0,
            0,
            hello.len() as u8,
        ];
        record.extend(hello);
        stream.write_all(&record)?;
        let mut answer = [0; 11];
        stream.read_exact(&mut answer)?;
        // A handshake record that holds a ServerHello of that version.
        Ok(answer[0] == 22 && answer[5] == 2 && answer[9] == 3 && answer[10] == minor)
    };
    [(1, "TLS 1.0"), (2, "TLS 1.1")]
        .into_iter()
        .find(|(minor, _)| old(*minor).unwrap_or(false))
        .map(|(_, name)| name)
}
