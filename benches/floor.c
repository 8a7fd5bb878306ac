// floor LIST PORT DESTINATION CONNECTIONS: the least that a durable, verified download costs on this machine.
//
// LIST has a line `SHA-256 SIZE PATH` for each blob, the largest first. So many threads, each with one kept-alive
// connection to 127.0.0.1:PORT, GET them, hash while the bytes come (OpenSSL, which uses the CPU's SHA instructions),
// write, and start the write-back of every 8 MiB at once. At the end one syncfs, then all get their final names, then
// the folder is synced. No registry protocol, no retries, no resumption, no locks: what a complete tool has to come near.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PIECE = 256 * 1024, WRITE_BACK = 8 * 1024 * 1024, HEAD = 8 * 1024 };

struct blob {
    char digest[65];
    long size;
    char path[512];
};

static struct blob *blobs;
static int blob_count;
static atomic_int next_blob;
static int port;
static int folder;

static void fail(const char *what, const char *which) {
    fprintf(stderr, "floor: %s: %s: %s\n", which, what, errno != 0 ? strerror(errno) : "not as expected");
    exit(1);
}

static void read_list(const char *name) {
    FILE *list = fopen(name, "r");
    if (list == NULL) fail("open", name);
    struct blob blob;
    while (fscanf(list, "%64s %ld %511s", blob.digest, &blob.size, blob.path) == 3) {
        blobs = realloc(blobs, sizeof blob * (size_t)(blob_count + 1));
        if (blobs == NULL) fail("memory", name);
        blobs[blob_count++] = blob;
    }
    fclose(list);
}

static int connect_origin(void) {
    int line = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (line < 0 || connect(line, (struct sockaddr *)&address, sizeof address) != 0) fail("connect", "origin");
    int yes = 1;
    setsockopt(line, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    return line;
}

// Sends the request and reads the head of the answer. Returns how many bytes of the body came with it, in `buffer`.
static long ask(int line, const struct blob *blob, char *buffer) {
    char request[1024];
    int length = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n\r\n", blob->path);
    if (send(line, request, (size_t)length, MSG_NOSIGNAL) != length) fail("send", blob->path);
    long have = 0;
    for (;;) {
        long got = recv(line, buffer + have, (size_t)(HEAD - have), 0);
        if (got <= 0) fail("recv", blob->path);
        have += got;
        char *end = memmem(buffer, (size_t)have, "\r\n\r\n", 4);
        if (end == NULL) {
            if (have == HEAD) fail("head", blob->path);
            continue;
        }
        *end = '\0';
        char *announced = strcasestr(buffer, "\r\ncontent-length:");
        errno = 0;
        if (strncmp(buffer, "HTTP/1.1 200", 12) != 0) fail("status", blob->path);
        if (announced == NULL || atol(announced + 17) != blob->size) fail("length", blob->path);
        long body = have - (end + 4 - buffer);
        memmove(buffer, end + 4, (size_t)body);
        return body;
    }
}

static void check(EVP_MD_CTX *hash, const struct blob *blob) {
    unsigned char digest[32];
    char text[65];
    EVP_DigestFinal_ex(hash, digest, NULL);
    for (int i = 0; i < 32; i++) snprintf(text + 2 * i, 3, "%02x", digest[i]);
    errno = 0;
    if (strcmp(text, blob->digest) != 0) fail("digest", blob->path);
}

static void part_name(char *name, const struct blob *blob) { sprintf(name, "%s.part", blob->digest); }

static void bring(int line, const struct blob *blob, char *buffer, EVP_MD_CTX *hash) {
    char name[72];
    part_name(name, blob);
    int file = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (file < 0) fail("create", name);
    EVP_DigestInit_ex(hash, EVP_sha256(), NULL);
    long done = 0, started = 0;
    long have = ask(line, blob, buffer);
    for (;;) {
        EVP_DigestUpdate(hash, buffer, (size_t)have);
        if (write(file, buffer, (size_t)have) != have) fail("write", name);
        done += have;
        if (done - started >= WRITE_BACK) {
            sync_file_range(file, started, done - started, SYNC_FILE_RANGE_WRITE);
            started = done;
        }
        if (done == blob->size) break;
        long want = blob->size - done < PIECE ? blob->size - done : PIECE;
        have = recv(line, buffer, (size_t)want, MSG_WAITALL);
        if (have <= 0) fail("recv", blob->path);
    }
    sync_file_range(file, started, 0, SYNC_FILE_RANGE_WRITE);
    check(hash, blob);
    close(file);
}

static void *work(void *unused) {
    (void)unused;
    char *buffer = malloc(PIECE > HEAD ? PIECE : HEAD);
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    if (buffer == NULL || hash == NULL) fail("memory", "thread");
    int line = connect_origin();
    for (int index; (index = atomic_fetch_add(&next_blob, 1)) < blob_count;) bring(line, &blobs[index], buffer, hash);
    close(line);
    EVP_MD_CTX_free(hash);
    free(buffer);
    return NULL;
}

int main(int count, char **arguments) {
    if (count != 5) {
        fprintf(stderr, "usage: floor LIST PORT DESTINATION CONNECTIONS\n");
        return 2;
    }
    read_list(arguments[1]);
    port = atoi(arguments[2]);
    folder = open(arguments[3], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) fail("open", arguments[3]);
    int connections = atoi(arguments[4]);
    pthread_t threads[64];
    if (connections < 1 || connections > 64) fail("connections", arguments[4]);
    for (int i = 0; i < connections; i++) {
        if (pthread_create(&threads[i], NULL, work, NULL) != 0) fail("thread", arguments[0]);
    }
    for (int i = 0; i < connections; i++) pthread_join(threads[i], NULL);
    if (syncfs(folder) != 0) fail("syncfs", arguments[3]);
    for (int i = 0; i < blob_count; i++) {
        char name[72];
        part_name(name, &blobs[i]);
        if (renameat(folder, name, folder, blobs[i].digest) != 0) fail("rename", name);
    }
    if (fsync(folder) != 0) fail("fsync", arguments[3]);
    free(blobs);
    return 0;
}
