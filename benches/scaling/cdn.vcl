vcl 4.1;
import std;

# Interprets CDN-Cache-Control (RFC 9213) like a CDN: fresh for max-age, then stale-while-revalidate.
backend service { .host = "127.0.0.1"; .port = "PORT"; }

sub vcl_backend_response {
    set beresp.ttl = std.duration(regsub(beresp.http.CDN-Cache-Control, ".*max-age=([0-9]+).*", "\1s"), 0s);
    if (beresp.ttl < LEASTs) {
        set beresp.ttl = LEASTs;
    }
    set beresp.grace = std.duration(regsub(beresp.http.CDN-Cache-Control, ".*stale-while-revalidate=([0-9]+).*", "\1s"), 0s);
    set beresp.keep = 0s;
    return (deliver);
}
