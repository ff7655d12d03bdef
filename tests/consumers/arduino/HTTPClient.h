// Stand-in for `HTTPClient` of the Arduino core for ESP32, with sockets of this machine: GET with HTTP/1.1, a body with
// `Content-Length`, no more than the snippets of docs/consumers.md use.
#pragma once

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <string>

#define HTTP_CODE_OK 200

class String : public std::string {
 public:
  using std::string::string;
  String(const std::string &text) : std::string(text) {}
  float toFloat() const { return std::strtof(c_str(), nullptr); }
};

class WiFiClient {
 public:
  int socket = -1;

  size_t readBytes(char *buffer, size_t length) {
    size_t count = 0;
    while (count < length) {
      ssize_t part = recv(socket, buffer + count, length - count, 0);
      if (part <= 0) break;
      count += part;
    }
    return count;
  }
};

class HTTPClient {
 public:
  bool begin(const char *url) {
    std::string rest = std::string(url).substr(strlen("http://"));
    size_t slash = rest.find('/');
    authority = rest.substr(0, slash);
    path = rest.substr(slash);
    return true;
  }

  int GET() {
    size_t colon = authority.find(':');
    addrinfo hints{}, *found = nullptr;
    hints.ai_socktype = SOCK_STREAM;
    if (getaddrinfo(authority.substr(0, colon).c_str(), authority.substr(colon + 1).c_str(), &hints, &found)) return -1;
    stream.socket = socket(found->ai_family, SOCK_STREAM, 0);
    int refused = connect(stream.socket, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    if (refused) return -1;
    std::string request = "GET " + path + " HTTP/1.1\r\nHost: " + authority + "\r\nUser-Agent: ESP32HTTPClient\r\n\r\n";
    send(stream.socket, request.data(), request.size(), 0);
    std::string head;
    char byte;
    while (head.find("\r\n\r\n") == std::string::npos && stream.readBytes(&byte, 1) == 1) head += byte;
    size_t length = head.find("content-length: ");
    size = length == std::string::npos ? -1 : atoi(head.c_str() + length + strlen("content-length: "));
    return atoi(head.c_str() + strlen("HTTP/1.1 "));
  }

  int getSize() const { return size; }
  WiFiClient &getStream() { return stream; }

  String getString() {
    std::string body(size > 0 ? size : 0, 0);
    body.resize(stream.readBytes(body.data(), body.size()));
    return body;
  }

  void end() {
    if (stream.socket >= 0) close(stream.socket);
    stream.socket = -1;
  }

 private:
  std::string authority, path;
  WiFiClient stream;
  int size = -1;
};
