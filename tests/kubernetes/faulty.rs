//! An API server that fails as a test says: a proxy in front of `kubectl proxy`, which reaches the real one with the real credentials.

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    response::Response,
};
use http::{HeaderMap, Method, header};
use serde_json::json;
use std::{
    collections::HashMap,
    io::Write as _,
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex},
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::TcpListener,
    process::{Child, Command},
    task::JoinHandle,
};

/// No list of a test is as large.
const LARGEST: usize = 16 << 20;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    Get,
    List,
    Watch,
    Create,
    Apply,
    /// The number of replicas.
    Scale,
    Replace,
    Delete,
}

/// A request, as far as faults are chosen by it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Call {
    pub verb: Verb,
    /// `deployments`.
    pub plural: String,
    /// Of one object; empty for a list.
    pub name: String,
}

impl Call {
    fn of(request: &Request) -> Self {
        let uri = request.uri();
        let mut path = uri.path().split('/').skip_while(|part| *part != "namespaces").skip(2);
        let mut next = || path.next().unwrap_or_default().to_owned();
        let (plural, name, part) = (next(), next(), next());
        let watches = uri.query().is_some_and(|query| query.split('&').any(|one| one == "watch=true"));
        let verb = match *request.method() {
            Method::POST => Verb::Create,
            Method::PUT => Verb::Replace,
            Method::DELETE => Verb::Delete,
            Method::PATCH if part == "scale" => Verb::Scale,
            Method::PATCH => Verb::Apply,
            _ if watches => Verb::Watch,
            _ if name.is_empty() => Verb::List,
            _ => Verb::Get,
        };
        Self { verb, plural, name }
    }

    /// Whether it changes something.
    pub fn is_change(&self) -> bool {
        !matches!(self.verb, Verb::Get | Verb::List | Verb::Watch)
    }
}

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// It is refused with this code; 429 and 503 ask to come again in a second.
    Refuse(u16),
    /// It is never answered, nor done.
    Swallow,
    /// It is done, and the connection breaks before the answer is there.
    Unanswered,
    /// A watch ends when it has begun.
    Close,
    /// A watch is told that what it asks for is too long ago.
    Expire,
    /// A watch is told nothing.
    Silence,
    /// A list is answered as it was the first time since [`Faulty::remember`].
    Earlier,
}

/// On which side of a call its caller ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    Before,
    After,
}

type Rule = Arc<dyn Fn(&Call) -> Option<Fault> + Send + Sync>;

struct Inner {
    http: reqwest::Client,
    /// `127.0.0.1:8001`
    real: String,
    state: Mutex<Plan>,
}

/// What is to go wrong, and what went.
struct Plan {
    rule: Rule,
    calls: Vec<(Call, Option<Fault>)>,
    /// After how many calls that change something nothing is answered any more.
    doom: Option<(u32, Moment)>,
    is_dead: bool,
    /// Answers to lists, by what was asked for.
    remembered: Option<HashMap<String, (HeaderMap, Bytes)>>,
}

/// The proxy.
pub struct Faulty {
    inner: Arc<Inner>,
    kubeconfig: tempfile::NamedTempFile,
    serving: JoinHandle<()>,
    /// Ends with it.
    _kubectl: Child,
}

impl Drop for Faulty {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Faulty {
    /// One that does as it is asked.
    pub async fn start() -> Self {
        let mut kubectl = Command::new("kubectl");
        kubectl.args(["proxy", "--port=0"]).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut kubectl = kubectl.spawn().unwrap();
        let mut lines = BufReader::new(kubectl.stdout.take().unwrap()).lines();
        let told = lines.next_line().await.unwrap().unwrap();
        let real = told.strip_prefix("Starting to serve on ").unwrap().to_owned();
        slipway_runtime::tls::install_provider();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let plan = Plan { rule: Arc::new(|_| None), calls: vec![], doom: None, is_dead: false, remembered: None };
        let inner = Arc::new(Inner { http, real, state: Mutex::new(plan) });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut kubeconfig = tempfile::NamedTempFile::new().unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let written = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "faulty",
            "clusters": [{ "name": "faulty", "cluster": { "server": server } }],
            "users": [{ "name": "faulty", "user": {} }],
            "contexts": [{ "name": "faulty", "context": { "cluster": "faulty", "user": "faulty" } }],
        });
        kubeconfig.write_all(written.to_string().as_bytes()).unwrap();
        let router = Router::new().fallback(answer).with_state(Arc::clone(&inner));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { inner, kubeconfig, serving, _kubectl: kubectl }
    }

    /// The way to the API server that leads through it.
    pub fn kubeconfig(&self) -> &Path {
        self.kubeconfig.path()
    }

    /// What goes wrong from now on, and from when on calls are counted. A rule may take its time: the request waits for it.
    pub fn fails(&self, rule: impl Fn(&Call) -> Option<Fault> + Send + Sync + 'static) {
        self.plan(|plan| {
            plan.rule = Arc::new(rule);
            plan.calls.clear();
        });
    }

    /// Nothing goes wrong any more.
    pub fn heal(&self) {
        self.plan(|plan| {
            plan.rule = Arc::new(|_| None);
            (plan.doom, plan.is_dead, plan.remembered) = (None, false, None);
        });
    }

    /// Keeps what each list is answered from now on, for [`Fault::Earlier`].
    pub fn remember(&self) {
        self.plan(|plan| plan.remembered = Some(HashMap::new()));
    }

    /// Who asks ends right before or after the call number `number` that changes something: none of its requests is answered from then on.
    pub fn ends_at(&self, number: u32, moment: Moment) {
        self.plan(|plan| plan.doom = Some((number, moment)));
    }

    /// Whether that call has come.
    pub fn has_ended(&self) -> bool {
        self.plan(|plan| plan.is_dead)
    }

    /// Whether that call is still to come.
    pub fn is_to_end(&self) -> bool {
        self.plan(|plan| plan.doom.is_some())
    }

    /// How many such calls there were.
    pub fn count(&self, is_meant: impl Fn(&Call, Option<Fault>) -> bool) -> usize {
        self.plan(|plan| plan.calls.iter().filter(|(call, fault)| is_meant(call, *fault)).count())
    }

    fn plan<T>(&self, with: impl FnOnce(&mut Plan) -> T) -> T {
        self.inner.plan(with)
    }
}

impl Inner {
    fn plan<T>(&self, with: impl FnOnce(&mut Plan) -> T) -> T {
        with(&mut self.state.lock().unwrap())
    }

    /// The next call that changes something, if its caller ends with it.
    fn dooms(&self, call: &Call) -> Option<Moment> {
        self.plan(|plan| {
            let (left, moment) = plan.doom.as_mut().filter(|_| call.is_change())?;
            *left = left.saturating_sub(1);
            (*left == 0).then_some(*moment)
        })
    }

    async fn forward(&self, request: Request) -> Response {
        let (mut parts, body) = request.into_parts();
        for header in [header::HOST, header::CONNECTION, header::CONTENT_LENGTH] {
            parts.headers.remove(header);
        }
        let url = format!("http://{}{}", self.real, parts.uri);
        let body = to_bytes(body, LARGEST).await.unwrap();
        match self.http.request(parts.method, url).headers(parts.headers).body(body).send().await {
            Ok(response) => {
                let (mut parts, body) = http::Response::from(response).into_parts();
                parts.headers.remove(header::TRANSFER_ENCODING);
                Response::from_parts(parts, Body::new(body))
            }
            Err(error) => said(502, Body::from(error.to_string())),
        }
    }
}

async fn answer(State(inner): State<Arc<Inner>>, request: Request) -> Response {
    let call = Call::of(&request);
    if inner.plan(|plan| plan.is_dead) {
        return std::future::pending().await;
    }
    if let Some(moment) = inner.dooms(&call) {
        if moment == Moment::After {
            done(&inner, request).await;
        }
        inner.plan(|plan| plan.is_dead = true);
        return std::future::pending().await;
    }
    let rule = inner.plan(|plan| Arc::clone(&plan.rule));
    let fault = rule(&call);
    inner.plan(|plan| plan.calls.push((call.clone(), fault)));
    match fault {
        None if call.verb == Verb::List => listed(&inner, request, false).await,
        None => inner.forward(request).await,
        Some(Fault::Refuse(code)) => refused(code),
        Some(Fault::Swallow) => std::future::pending().await,
        Some(Fault::Unanswered) => {
            done(&inner, request).await;
            said(200, broken())
        }
        Some(Fault::Close) => said(200, Body::empty()),
        Some(Fault::Expire) => {
            let object = status(410, "Expired", "too old resource version: 1 (2)");
            said(200, Body::from(format!("{}\n", json!({ "type": "ERROR", "object": object }))))
        }
        Some(Fault::Silence) => said(200, silent()),
        Some(Fault::Earlier) => listed(&inner, request, true).await,
    }
}

/// Does it although whoever asked may be gone meanwhile.
async fn done(inner: &Arc<Inner>, request: Request) {
    let inner = Arc::clone(inner);
    let forwarded = tokio::spawn(async move { to_bytes(inner.forward(request).await.into_body(), LARGEST).await });
    forwarded.await.unwrap().unwrap();
}

/// The answer to a list, that of now or an earlier one.
async fn listed(inner: &Arc<Inner>, request: Request, is_earlier: bool) -> Response {
    let accepted = request.headers().get(header::ACCEPT).cloned();
    let asked = format!("{} {accepted:?}", request.uri());
    let known = || inner.plan(|plan| plan.remembered.as_ref().and_then(|answers| answers.get(&asked).cloned()));
    if let Some((headers, body)) = known().filter(|_| is_earlier) {
        let mut response = said(200, Body::from(body));
        *response.headers_mut() = headers;
        return response;
    }
    let (parts, body) = inner.forward(request).await.into_parts();
    let body = to_bytes(body, LARGEST).await.unwrap();
    if parts.status.is_success() {
        let answer = (parts.headers.clone(), body.clone());
        inner.plan(|plan| plan.remembered.as_mut().map(|answers| answers.entry(asked).or_insert(answer).clone()));
    }
    Response::from_parts(parts, Body::from(body))
}

/// In the API server's own form: too many requests are refused before anything is known that could say it in JSON.
fn refused(code: u16) -> Response {
    let mut response = match code {
        429 => said(code, Body::from("Too many requests, please try again later.\n")),
        409 => said(code, Body::from(status(code, "Conflict", "the object has been modified").to_string())),
        _ => said(code, Body::from(status(code, "InternalError", "etcdserver: leader changed").to_string())),
    };
    if [429, 503].contains(&code) {
        response.headers_mut().insert(header::RETRY_AFTER, "1".parse().unwrap());
    }
    response
}

fn status(code: u16, reason: &str, message: &str) -> serde_json::Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    })
}

fn said(code: u16, body: Body) -> Response {
    let json = (header::CONTENT_TYPE, "application/json");
    Response::builder().status(code).header(json.0, json.1).body(body).unwrap()
}

/// Nothing, for ever.
fn silent() -> Body {
    Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>())
}

/// An answer whose connection breaks.
fn broken() -> Body {
    let error = Err::<Bytes, _>(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
    Body::from_stream(futures::stream::iter([error]))
}
