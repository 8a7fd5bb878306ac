// load PORT CONNECTIONS SECONDS PATH...: asks a server on this machine for files, again and again, over kept-alive
// connections, and throws the bodies away in the kernel (MSG_TRUNC): what is measured is the server.
// Each connection goes through the paths in turn, each from another one on. Prints `bytes requests seconds`.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HEAD = 4096, PIECE = 1 << 20, EVENTS = 256 };

struct connection {
  int socket;
  int path;
  size_t head_length;    // bytes of an answer's head so far
  long long body_left;   // bytes of its body still to come; -1 while the head comes
  char head[HEAD];
};

static int paths;
static char **path;
static long long bytes, requests;

static void fail(const char *what) {
  fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
  exit(1);
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec + time.tv_nsec / 1e9;
}

static void ask(struct connection *c) {
  char request[512];
  int length = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", path[c->path]);
  c->path = (c->path + 1) % paths;
  c->head_length = 0;
  c->body_left = -1;
  if (send(c->socket, request, length, MSG_NOSIGNAL) != length) fail("send");
}

static void take_head(struct connection *c) {
  ssize_t seen = recv(c->socket, c->head + c->head_length, HEAD - 1 - c->head_length, MSG_PEEK);
  if (seen < 0 && errno == EAGAIN) return;
  if (seen <= 0) fail("the server closed a connection");
  size_t before = c->head_length;
  c->head[before + seen] = 0;
  char *end = strstr(c->head, "\r\n\r\n");
  size_t used = end ? (size_t)(end + 4 - c->head) - before : (size_t)seen;
  if (recv(c->socket, c->head + before, used, 0) != (ssize_t)used) fail("recv");
  c->head_length = before + used;
  if (!end) {
    if (c->head_length >= HEAD - 1) fail("too long a head");
    return;
  }
  c->head[c->head_length] = 0;
  if (strncmp(c->head, "HTTP/1.1 200", 12)) { fprintf(stderr, "load: %.60s\n", c->head); exit(1); }
  char *length = strcasestr(c->head, "\r\nContent-Length:");
  if (!length) fail("no Content-Length");
  c->body_left = atoll(length + 17);
}

static void take(struct connection *c) {
  if (c->body_left < 0) take_head(c);
  while (c->body_left > 0) {
    ssize_t got = recv(c->socket, NULL, c->body_left < PIECE ? c->body_left : PIECE, MSG_TRUNC);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) fail("a body ended early");
    bytes += got;
    c->body_left -= got;
  }
  if (c->body_left == 0) {
    requests++;
    ask(c);
  }
}

int main(int argc, char **argv) {
  if (argc < 5) { fprintf(stderr, "usage: load PORT CONNECTIONS SECONDS PATH...\n"); return 2; }
  int count = atoi(argv[2]), one = 1;
  double seconds = atof(argv[3]);
  paths = argc - 4;
  path = argv + 4;
  struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
  struct connection *all = calloc(count, sizeof *all);
  int events = epoll_create1(0);
  for (int i = 0; i < count; i++) {
    struct connection *c = &all[i];
    c->socket = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(c->socket, (struct sockaddr *)&address, sizeof address)) fail("connect");
    setsockopt(c->socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(c->socket, F_SETFL, O_NONBLOCK);
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = c };
    if (epoll_ctl(events, EPOLL_CTL_ADD, c->socket, &event)) fail("epoll");
    c->path = i % paths;
    ask(c);
  }
  double begun = now(), passed;
  struct epoll_event ready[EVENTS];
  do {
    int found = epoll_wait(events, ready, EVENTS, 100);
    for (int i = 0; i < found; i++) take(ready[i].data.ptr);
    passed = now() - begun;
  } while (passed < seconds);
  printf("%lld %lld %.3f\n", bytes, requests, passed);
}
