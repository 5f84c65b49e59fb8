//! Messages read off the wire, with every byte of them.

/// A request or an answer.
#[derive(Clone, Debug)]
pub struct Message {
    /// Start line and fields, with the empty line, as they came.
    pub head: Vec<u8>,
    /// The body as it came, chunks and all.
    pub raw_body: Vec<u8>,
    /// The body without transfer coding.
    pub body: Vec<u8>,
}

impl Message {
    /// Everything as it came.
    pub fn raw(&self) -> Vec<u8> {
        [&self.head[..], &self.raw_body].concat()
    }

    /// Everything as it came, as text (a byte that is not ASCII is read as Latin-1).
    pub fn raw_text(&self) -> String {
        latin1(&self.raw())
    }

    /// Bytes as text, each as the character of its number.
    pub fn latin1(bytes: &[u8]) -> String {
        latin1(bytes)
    }

    pub fn head_text(&self) -> String {
        latin1(&self.head)
    }

    pub fn body_text(&self) -> String {
        latin1(&self.body)
    }

    pub fn start_line(&self) -> String {
        self.head_text().lines().next().unwrap_or_default().to_owned()
    }

    pub fn method(&self) -> String {
        self.start_line().split(' ').next().unwrap_or_default().to_owned()
    }

    pub fn status(&self) -> u16 {
        self.start_line().split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status")
    }

    /// The values of all fields of this name, in any case.
    pub fn all(&self, name: &str) -> Vec<String> {
        let head = self.head_text();
        let fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields
            .filter(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().to_owned())
            .collect()
    }

    /// The value of the only field of this name.
    pub fn field(&self, name: &str) -> Option<String> {
        let mut all = self.all(name);
        assert!(all.len() < 2, "more than one {name}: {}", self.head_text());
        all.pop()
    }

    /// The same as a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.field(name).map(|value| value.parse().expect(name))
    }

    pub fn json(&self) -> serde_json::Value {
        assert_eq!(self.field("content-type").as_deref(), Some("application/json"));
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

/// Where the body behind a head ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    After(usize),
    LastChunk,
    Close,
}

/// Where the body of a request ends, or of an answer that may have one.
pub fn end_of_body(head: &[u8], is_request: bool) -> End {
    let message = Message { head: head.to_vec(), raw_body: Vec::new(), body: Vec::new() };
    let bodiless = !is_request && (message.status() < 200 || [204, 304].contains(&message.status()));
    if bodiless {
        return End::After(0);
    }
    if message.all("transfer-encoding").iter().any(|coding| coding.eq_ignore_ascii_case("chunked")) {
        return End::LastChunk;
    }
    match message.all("content-length").first() {
        Some(length) => End::After(length.parse().expect("a length")),
        None if is_request => End::After(0),
        None => End::Close,
    }
}

/// The length of a chunked body at the front of `input`, and its content; `None` if it is not whole.
pub fn dechunk(input: &[u8]) -> Option<(usize, Vec<u8>)> {
    let mut content = Vec::new();
    let mut at = 0;
    loop {
        let line_end = at + find(&input[at..], b"\r\n")?;
        let line = latin1(&input[at..line_end]);
        let size = line.split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(size, 16).unwrap_or_else(|_| panic!("chunk size {line:?}"));
        at = line_end + 2;
        if size == 0 {
            let end = find(&input[at - 2..], b"\r\n\r\n")?;
            return Some((at - 2 + end + 4, content));
        }
        content.extend_from_slice(input.get(at..at + size)?);
        assert_eq!(input.get(at + size..at + size + 2)?, b"\r\n", "the end of a chunk");
        at += size + 2;
    }
}

pub fn find(input: &[u8], wanted: &[u8]) -> Option<usize> {
    input.windows(wanted.len()).position(|window| window == wanted)
}

pub fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}
