// Package httpx reads bytes over HTTP(S) from servers that drop, stall, lie and
// change their minds, and goes on where it was.
//
// Fetch fills a file; Open gives a stream; Do is one request. All three connect
// through one guarded dialer, have limits for connecting, for the first header,
// for silence and for the whole, follow few redirects, and leave the caller's
// headers behind when a redirect leaves the caller's server.
//
// Old and new bytes are never put together: the validator of the bytes (a strong
// ETag, or else Last-Modified) is kept in a small file beside the partial one,
// travels as If-Range, and is compared with each answer. What differs starts from
// byte 0. After a crash only bytes are believed that were synced before the small
// file said so. Progress is counted against the farthest byte ever reached, so a
// server that drops for ever is given up.
//
// The GET alone decides; nothing is asked by HEAD. A refusal (403, 404, another
// length) counts when the server repeats it, because clocks, caches and new
// uploads need a moment; how often is the caller's choice. Text of a server gets
// into errors escaped and cut. Every error says whose fault it is.
//
// The package does not know what the bytes mean: whoever can check them does, and
// calls Restart once when they are wrong. It takes no compressed and no multipart
// answers, and writes nothing to logs.
package httpx
