//! Single sign-on: where a member's user proves who they are. Specification: VL2 networks, authentication required.

use crate::Time;
use crate::dictionary::Dictionary;

const MAX_URL: usize = 2047;
const MAX_NONCE: usize = 127;
const MAX_STATE: usize = 255;
const MAX_CLIENT_ID: usize = 255;
const MAX_PROVIDER: usize = 63;
const DEFAULT_PROVIDER: &str = "default";

/// Single sign-on settings of a network.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sso {
    /// Whether the network asks for authentication.
    pub enabled: bool,
    /// 0: a URL to open; 1: OpenID Connect.
    pub version: u64,
    /// The URL to open.
    pub authentication_url: String,
    /// When the present authentication ends (version 0).
    pub authentication_expiry: Option<Time>,
    /// OpenID issuer.
    pub issuer_url: String,
    /// Where the token goes.
    pub central_url: String,
    /// OpenID nonce.
    pub nonce: String,
    /// OpenID state.
    pub state: String,
    /// OpenID client.
    pub client_id: String,
    /// OpenID provider.
    pub provider: String,
}

impl Default for Sso {
    fn default() -> Self {
        Self {
            enabled: false,
            version: 0,
            authentication_url: String::new(),
            authentication_expiry: None,
            issuer_url: String::new(),
            central_url: String::new(),
            nonce: String::new(),
            state: String::new(),
            client_id: String::new(),
            provider: DEFAULT_PROVIDER.to_owned(),
        }
    }
}

impl Sso {
    /// The settings in the details of an "authentication required" error; `None` if they say nothing this version
    /// understands.
    #[must_use]
    pub fn from_error(details: &[u8]) -> Option<Self> {
        let d = Dictionary::from_bytes(details);
        let version = d.get_hex("aV", 0);
        let mut sso = Self { enabled: true, version, ..Self::default() };
        match version {
            0 => {
                sso.authentication_url = d.get_text("aU", MAX_URL);
                if sso.authentication_url.is_empty() {
                    return None;
                }
            }
            1 => {
                sso.issuer_url = d.get_text("iU", MAX_URL);
                sso.central_url = d.get_text("aCU", MAX_URL);
                sso.nonce = d.get_text("aN", MAX_NONCE);
                sso.state = d.get_text("aS", MAX_STATE);
                sso.client_id = d.get_text("aCID", MAX_CLIENT_ID);
                if d.get("aSSOp").is_some() {
                    sso.provider = d.get_text("aSSOp", MAX_PROVIDER);
                }
            }
            _ => return None,
        }
        Some(sso)
    }

    /// The details of an "authentication required" error.
    #[must_use]
    pub fn to_error(&self) -> Dictionary {
        let mut d = Dictionary::new();
        d.push_hex("aV", self.version);
        if self.version == 0 {
            d.push_str("aU", &self.authentication_url);
        } else {
            d.push_str("iU", &self.issuer_url);
            d.push_str("aCU", &self.central_url);
            d.push_str("aN", &self.nonce);
            d.push_str("aS", &self.state);
            d.push_str("aCID", &self.client_id);
            d.push_str("aSSOp", &self.provider);
        }
        d
    }

    pub(super) fn read(d: &Dictionary) -> Self {
        let version = d.get_hex("ssov", 0);
        let mut sso = Self { version, ..Self::default() };
        match version {
            0 => {
                sso.enabled = d.get_bool("ssoe", false);
                if sso.enabled {
                    sso.authentication_url = d.get_text("aurl", MAX_URL);
                    let expiry = d.get_signed("aexpt", 0);
                    sso.authentication_expiry = (expiry != 0).then_some(Time::from_ms(expiry));
                }
            }
            1 => {
                sso.enabled = d.get_bool("ssoe", false);
                if sso.enabled {
                    sso.authentication_url = d.get_text("aurl", MAX_URL);
                    sso.issuer_url = d.get_text("iurl", MAX_URL);
                    sso.central_url = d.get_text("ssoce", MAX_URL);
                    sso.nonce = d.get_text("sson", MAX_NONCE);
                    sso.state = d.get_text("ssos", MAX_STATE);
                    sso.client_id = d.get_text("ssocid", MAX_CLIENT_ID);
                    if d.get("ssop").is_some() {
                        sso.provider = d.get_text("ssop", MAX_PROVIDER);
                    }
                } else {
                    sso.provider.clear();
                }
            }
            _ => {}
        }
        sso
    }

    pub(super) fn write(&self, d: &mut Dictionary) {
        if self.version > 1 {
            return;
        }
        d.push_hex("ssov", self.version);
        d.push_bool("ssoe", self.enabled);
        if self.version == 0 {
            if self.enabled {
                if !self.authentication_url.is_empty() {
                    d.push_str("aurl", &self.authentication_url);
                }
                d.push_signed("aexpt", self.authentication_expiry.map_or(0, Time::as_ms));
            }
        } else {
            d.push_str("iurl", &self.issuer_url);
            d.push_str("ssoce", &self.central_url);
            d.push_str("sson", &self.nonce);
            d.push_str("ssos", &self.state);
            d.push_str("ssocid", &self.client_id);
            d.push_str("ssop", &self.provider);
        }
    }
}
