//! nginx, one worker: as nchan, which holds polls, and as a proxy.

use std::net::SocketAddr;

use tempfile::TempDir;

use super::process::{Server, free_address};

/// Room for the polls of every mode. nginx takes the memory for it when it starts, so that a held poll
/// does not count it.
const CONNECTIONS: usize = 65_536;

/// Where Debian has the module.
pub const NCHAN: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";

pub struct Nginx {
    process: Server,
    pub address: SocketAddr,
    /// Its configuration and what it writes; goes after the process.
    _folder: TempDir,
}

impl Nginx {
    /// Channels with the gateway's own limits: 100 messages, half an hour; a poll is held for ten minutes.
    pub async fn with_nchan() -> Self {
        let shared = "nchan_shared_memory_size 1024M;";
        let locations = r"
            location ~ ^/pub/(\w+)$ {
                nchan_publisher;
                nchan_channel_id $1;
                nchan_message_buffer_length 100;
                nchan_message_timeout 30m;
            }
            location ~ ^/sub/(\w+)$ {
                nchan_subscriber longpoll;
                nchan_channel_id $1;
                nchan_subscriber_first_message oldest;
                nchan_subscriber_timeout 600;
            }
            location = /status { nchan_stub_status; }";
        Self::start(&format!("load_module {NCHAN};"), shared, locations).await
    }

    pub async fn as_proxy(upstream: SocketAddr) -> Self {
        let servers =
            format!("upstream legacy {{ server {upstream}; keepalive 64; keepalive_requests 100000000; }}");
        let location = r#"
            location / {
                proxy_pass http://legacy;
                proxy_http_version 1.1;
                proxy_set_header Connection "";
                proxy_set_header Host $http_host;
            }"#;
        Self::start("", &servers, location).await
    }

    async fn start(modules: &str, http: &str, locations: &str) -> Self {
        // Another program may take the port first.
        for _ in 0..3 {
            let (address, folder) = (free_address(), tempfile::tempdir().unwrap());
            let configuration = folder.path().join("nginx.conf");
            std::fs::write(&configuration, text(address, modules, http, locations)).unwrap();
            let paths = [folder.path(), configuration.as_path()].map(|path| path.to_str().unwrap());
            let mut process = Server::start("nginx", &["-p", paths[0], "-c", paths[1], "-e", "error.log"]);
            if process.listens_on(address).await {
                return Self { process, address, _folder: folder };
            }
            let log = std::fs::read_to_string(folder.path().join("error.log")).unwrap_or_default();
            eprintln!("nginx does not start: {log}");
        }
        panic!("nginx does not start");
    }

    pub fn process(&self) -> &Server {
        &self.process
    }
}

fn text(address: SocketAddr, modules: &str, http: &str, locations: &str) -> String {
    format!(
        "{modules}
        daemon off;
        worker_processes 1;
        pid nginx.pid;
        error_log error.log warn;
        events {{ worker_connections {CONNECTIONS}; }}
        http {{
            access_log off;
            keepalive_timeout 600;
            keepalive_requests 100000000;
            client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
            uwsgi_temp_path uwsgi; scgi_temp_path scgi;
            {http}
            server {{
                listen {address} backlog=4096;
                {locations}
            }}
        }}"
    )
}
