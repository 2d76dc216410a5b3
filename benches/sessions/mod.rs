//! Sessions as applications keep them, of many shapes: visitors, people who are logged in, carts, dashboards, wizards, and
//! tokens of other services. Each is made from its number alone, so that two servers are given the same ones. No value is
//! ever made from one template: fields come and go, and what is random in life (ids, secrets, times) is random here.

use fastrand::Rng;

const PAGES: [&str; 12] = [
    "/",
    "/account",
    "/account/orders",
    "/admin/users",
    "/basket",
    "/checkout/payment",
    "/dashboard",
    "/help/contact",
    "/products",
    "/projects/overview",
    "/search",
    "/settings/profile",
];
const FIRST: [&str; 24] = [
    "ada", "alan", "barbara", "chen", "dmitri", "elif", "fatima", "grace", "hiro", "ingrid", "jose", "kofi", "lena",
    "maria", "nadia", "omar", "priya", "quentin", "rosa", "sven", "tomas", "uma", "wei", "yusuf",
];
const LAST: [&str; 24] = [
    "almeida", "baker", "costa", "diaz", "eriksen", "fischer", "garcia", "hansen", "ito", "jensen", "kowalski",
    "lopez", "meyer", "nakamura", "okafor", "patel", "rossi", "schmidt", "tanaka", "usman", "virtanen", "wang",
    "young", "zhang",
];
const HOSTS: [&str; 8] = [
    "example.com",
    "example.org",
    "example.net",
    "mail.example.com",
    "uni.example.edu",
    "corp.example",
    "post.example",
    "web.example",
];
const LOCALES: [&str; 10] = ["en", "en-GB", "en-US", "de", "de-AT", "fr", "es", "pt-BR", "ja", "zh-CN"];
const ROLES: [&str; 8] = ["user", "editor", "admin", "billing", "support", "auditor", "owner", "guest"];
const ADJECTIVES: [&str; 16] = [
    "small", "large", "blue", "red", "wooden", "light", "organic", "steel", "soft", "round", "classic", "modern",
    "folding", "wireless", "warm", "portable",
];
const THINGS: [&str; 16] = [
    "chair", "table", "lamp", "shirt", "jacket", "bottle", "notebook", "keyboard", "speaker", "tent", "backpack",
    "mug", "blanket", "clock", "mirror", "shelf",
];
const FLASHES: [&str; 6] = [
    "Your changes were saved.",
    "Please log in to view that page.",
    "Invalid username or password",
    "The item was added to your basket.",
    "Your e-mail address is not confirmed yet.",
    "Welcome back!",
];
const SYSTEMS: [&str; 5] = [
    "Windows NT 10.0; Win64; x64",
    "Macintosh; Intel Mac OS X 10_15_7",
    "X11; Linux x86_64",
    "Linux; Android 14; Mobile",
    "iPhone; CPU iPhone OS 17_4 like Mac OS X",
];

/// 2026-01-01 in Unix milliseconds.
const BEGIN_MS: u64 = 1_767_225_600_000;
const DAY_MS: u64 = 86_400_000;

/// A session: its key, as connect-redis and connect-pg-simple name it, and its JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// `sess:` and 32 random letters and digits.
    pub key: String,
    /// A JSON object.
    pub json: String,
}

/// The session of this number.
#[must_use]
pub fn session(number: u64) -> Session {
    let mut draft = Draft::new(number);
    let key = format!("sess:{}", draft.secret(32));
    draft.cookie();
    // Of a hundred sessions of a mixed house.
    match draft.random.u8(0..100) {
        0..30 => draft.visitor(),
        30..65 => draft.member(),
        65..80 => draft.shopper(),
        80..90 => draft.operator(),
        90..95 => draft.applicant(),
        _ => draft.guest_of_another_service(),
    }
    Session { key, json: draft.finish() }
}

/// The fields of one session, in the order in which the application came to set them.
struct Draft {
    random: Rng,
    now_ms: u64,
    fields: Vec<String>,
}

impl Draft {
    fn new(number: u64) -> Self {
        let mut random = Rng::with_seed(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5e55_1045);
        let now_ms = BEGIN_MS + random.u64(0..30 * DAY_MS);
        Self { random, now_ms, fields: Vec::new() }
    }

    fn finish(self) -> String {
        format!("{{{}}}", self.fields.join(","))
    }

    fn add(&mut self, name: &str, json: impl AsRef<str>) {
        self.fields.push(format!("\"{name}\":{}", json.as_ref()));
    }

    fn add_text(&mut self, name: &str, text: impl AsRef<str>) {
        self.fields.push(format!("\"{name}\":\"{}\"", text.as_ref()));
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.random.usize(0..of.len())]
    }

    fn happens(&mut self, percent: u8) -> bool {
        self.random.u8(0..100) < percent
    }

    /// Letters and digits as nanoid, uid-safe and csrf make them.
    fn secret(&mut self, length: usize) -> String {
        const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        (0..length).map(|_| char::from(LETTERS[self.random.usize(0..64)])).collect()
    }

    fn hexadecimal(&mut self, length: usize) -> String {
        (0..length).map(|_| char::from(b"0123456789abcdef"[self.random.usize(0..16)])).collect()
    }

    fn uuid(&mut self) -> String {
        let digits = self.hexadecimal(30);
        format!("{}-{}-4{}-a{}-{}", &digits[..8], &digits[8..12], &digits[12..15], &digits[15..18], &digits[18..])
    }

    /// `2026-01-07T12:34:56.789Z`, as `Date.toJSON` writes it; January and February of 2026 hold all that is needed.
    fn date(&self, at_ms: u64) -> String {
        let (day, in_day) = ((at_ms - BEGIN_MS) / DAY_MS, at_ms % DAY_MS);
        let (month, day) = if day < 31 { (1, day + 1) } else { (2, day - 30) };
        let (hour, minute, second) = (in_day / 3_600_000, in_day / 60_000 % 60, in_day / 1_000 % 60);
        format!("2026-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", in_day % 1_000)
    }

    fn earlier(&mut self) -> u64 {
        self.now_ms - self.random.u64(0..=(self.now_ms - BEGIN_MS).min(DAY_MS))
    }

    fn id(&mut self) -> String {
        match self.random.u8(0..4) {
            0 => self.random.u32(1..2_000_000).to_string(),
            1 => format!("\"{}\"", self.hexadecimal(24)),
            _ => format!("\"{}\"", self.uuid()),
        }
    }

    fn cookie(&mut self) {
        let age_ms = [1_800_000, DAY_MS, 7 * DAY_MS, 14 * DAY_MS][self.random.usize(0..4)];
        let expires = self.date(self.now_ms + age_ms);
        let mut cookie = format!("{{\"originalMaxAge\":{age_ms},\"expires\":\"{expires}\"");
        if self.happens(70) {
            cookie.push_str(",\"secure\":true");
        }
        cookie.push_str(",\"httpOnly\":true,\"path\":\"/\"");
        if self.happens(60) {
            cookie.push_str(&format!(",\"sameSite\":\"{}\"", self.one(&["lax", "strict", "none"])));
        }
        cookie.push('}');
        self.add("cookie", cookie);
    }

    fn csrf(&mut self) {
        let (name, secret) =
            if self.happens(70) { ("csrfSecret", self.secret(24)) } else { ("_csrf", self.hexadecimal(64)) };
        self.add_text(name, secret);
    }

    fn page(&mut self) -> String {
        let page = self.one(&PAGES);
        if self.happens(30) {
            format!("{page}?page={}&ref={}", self.random.u8(1..40), self.secret(6))
        } else {
            page.to_owned()
        }
    }

    fn visitor(&mut self) {
        if self.happens(80) {
            self.csrf();
        }
        if self.happens(50) {
            let page = self.page();
            self.add_text("returnTo", page);
        }
        if self.happens(30) {
            let (locale, visits) = (self.one(&LOCALES), self.random.u16(1..300));
            self.add_text("locale", locale);
            self.add("views", visits.to_string());
        }
        if self.happens(25) {
            self.flash();
        }
    }

    fn flash(&mut self) {
        let (kind, words) = (self.one(&["error", "info", "success"]), self.one(&FLASHES));
        let flash = if self.happens(50) { "{}".to_owned() } else { format!("{{\"{kind}\":[\"{words}\"]}}") };
        self.add("flash", flash);
    }

    fn passport(&mut self) {
        let id = self.id();
        let user = if self.happens(65) { id } else { self.person(&id) };
        self.add("passport", format!("{{\"user\":{user}}}"));
    }

    fn person(&mut self, id: &str) -> String {
        let (first, last, host) = (self.one(&FIRST), self.one(&LAST), self.one(&HOSTS));
        let number = self.random.u16(1..999);
        format!("{{\"id\":{id},\"email\":\"{first}.{last}{number}@{host}\",\"name\":\"{first} {last}\"}}")
    }

    fn member(&mut self) {
        self.passport();
        if self.happens(85) {
            self.csrf();
        }
        if self.happens(60) {
            self.flash();
        }
        if self.happens(40) {
            let page = self.page();
            self.add_text("returnTo", page);
        }
        if self.happens(45) {
            let at = self.earlier();
            let (at, address) = (self.date(at), self.address());
            self.add("lastLogin", format!("{{\"at\":\"{at}\",\"ip\":\"{address}\"}}"));
        }
        if self.happens(35) {
            let agent = self.agent();
            self.add_text("userAgent", agent);
        }
    }

    fn address(&mut self) -> String {
        let [one, two, three] = [self.random.u8(1..), self.random.u8(..), self.random.u8(..)];
        format!("{}.{one}.{two}.{three}", [10, 77, 84, 91, 178, 203][self.random.usize(0..6)])
    }

    fn agent(&mut self) -> String {
        let (system, major, minor) = (self.one(&SYSTEMS), self.random.u8(108..133), self.random.u16(1000..7000));
        format!(
            "Mozilla/5.0 ({system}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{major}.0.{minor}.0 Safari/537.36"
        )
    }

    fn shopper(&mut self) {
        if self.happens(60) {
            self.passport();
        }
        self.csrf();
        let items: Vec<String> = (0..self.random.usize(1..9)).map(|_| self.item()).collect();
        let (total, currency) = (self.random.u32(500..90_000), self.one(&["EUR", "USD", "GBP", "JPY"]));
        let items = items.join(",");
        self.add("cart", format!("{{\"items\":[{items}],\"totalCents\":{total},\"currency\":\"{currency}\"}}"));
        if self.happens(30) {
            let coupon = self.secret(8).to_ascii_uppercase();
            self.add_text("coupon", coupon);
        }
        let at = self.earlier();
        let at = self.date(at);
        self.add_text("cartUpdatedAt", at);
    }

    fn item(&mut self) -> String {
        let (sku, quantity, cents) =
            (self.random.u32(10_000..99_999), self.random.u8(1..5), self.random.u32(99..20_000));
        let (adjective, thing) = (self.one(&ADJECTIVES), self.one(&THINGS));
        format!("{{\"sku\":\"SKU-{sku}\",\"title\":\"{adjective} {thing}\",\"qty\":{quantity},\"priceCents\":{cents}}}")
    }

    fn operator(&mut self) {
        self.passport();
        let roles: Vec<String> = (0..self.random.usize(1..4)).map(|_| format!("\"{}\"", self.one(&ROLES))).collect();
        self.add("roles", format!("[{}]", roles.join(",")));
        let (tenant, plan) = (self.uuid(), self.one(&["free", "team", "business"]));
        self.add("tenant", format!("{{\"id\":\"{tenant}\",\"plan\":\"{plan}\"}}"));
        let (theme, rows) = (self.one(&["light", "dark", "system"]), [10, 25, 50, 100][self.random.usize(0..4)]);
        let locale = self.one(&LOCALES);
        self.add("preferences", format!("{{\"theme\":\"{theme}\",\"rowsPerPage\":{rows},\"locale\":\"{locale}\"}}"));
        let recent: Vec<String> = (0..self.random.usize(0..8)).map(|_| format!("\"{}\"", self.page())).collect();
        self.add("recentPages", format!("[{}]", recent.join(",")));
        self.add("lastActivity", self.now_ms.to_string());
        if self.happens(40) {
            let secret = self.secret(32);
            self.add("mfa", format!("{{\"verified\":true,\"challenge\":\"{secret}\"}}"));
        }
    }

    /// Somebody in the middle of a form of several pages.
    fn applicant(&mut self) {
        self.csrf();
        let (step, id) = (self.random.u8(1..6), self.uuid());
        let person = self.person(&format!("\"{id}\""));
        let (street, number) = (self.one(&LAST), self.random.u8(1..200));
        let (zip, country) = (self.random.u32(10_000..99_999), self.one(&["DE", "US", "FR", "GB", "ES", "JP"]));
        let address =
            format!("{{\"street\":\"{street} street {number}\",\"zip\":\"{zip}\",\"country\":\"{country}\"}}");
        let accepted = step > 3;
        self.add(
            "wizard",
            format!("{{\"step\":{step},\"applicant\":{person},\"address\":{address},\"accepted\":{accepted}}}"),
        );
    }

    /// Tokens are random in all their length.
    fn guest_of_another_service(&mut self) {
        self.passport();
        let expires = self.date(self.now_ms + 3_600_000);
        let (access, refresh) = (self.secret(160), self.secret(64));
        let provider = self.one(&["google", "github", "azure-ad", "keycloak"]);
        let tokens = format!("\"accessToken\":\"{access}\",\"refreshToken\":\"{refresh}\"");
        let scope = "\"scope\":\"openid profile email\"";
        self.add("oauth", format!("{{\"provider\":\"{provider}\",{tokens},{scope},\"expiresAt\":\"{expires}\"}}"));
    }
}
