package listen

import "time"

// Limits of one listener. Zero values are the defaults stated.
type Limits struct {
	// Conns is how many connections are open at once; 1024.
	Conns int
	// ConnsPerAddress is how many of them one address has; half of Conns. An
	// address is an IPv4 address or an IPv6 /64.
	ConnsPerAddress int
	// Requests is how many requests are being answered at once; Conns.
	Requests int
	// RequestsPerAddress is how many of them one address has; half of Requests.
	RequestsPerAddress int
	// Sockets is how many connections are websockets; half of Conns.
	Sockets int
	// SocketsPerAddress is how many of them one address has; half of Sockets.
	SocketsPerAddress int

	// Header bounds the reading of a request's header, from its first moment; 10 s.
	Header time.Duration
	// Idle is how long a connection is kept between two requests; 2 min, longer than clients
	// keep theirs.
	Idle time.Duration
	// Stall is how long a peer is waited for while fewer than MinBytes move, in a
	// body or an answer; 30 s.
	Stall time.Duration
	// MinBytes is what counts as moving; 16 KiB.
	MinBytes int
	// SocketIdle is how long a websocket may send nothing, not even the answer to
	// a ping; 1 min.
	SocketIdle time.Duration
	// Patience is how long a request waits for a slot; 1 s.
	Patience time.Duration
	// Grace is how long a request must have waited for its peer to give way to
	// others; 500 ms.
	Grace time.Duration
	// HeaderBytes bounds a request's header; 64 KiB.
	HeaderBytes int
}

func (l Limits) withDefaults() Limits {
	count := func(v *int, d int) {
		if *v <= 0 {
			*v = max(d, 1)
		}
	}
	count(&l.Conns, 1024)
	count(&l.ConnsPerAddress, l.Conns/2)
	count(&l.Requests, l.Conns)
	count(&l.RequestsPerAddress, l.Requests/2)
	count(&l.Sockets, l.Conns/2)
	count(&l.SocketsPerAddress, l.Sockets/2)
	count(&l.MinBytes, 16<<10)
	count(&l.HeaderBytes, 64<<10)
	span := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	span(&l.Header, 10*time.Second)
	span(&l.Idle, 2*time.Minute)
	span(&l.Stall, 30*time.Second)
	span(&l.SocketIdle, time.Minute)
	span(&l.Patience, time.Second)
	span(&l.Grace, 500*time.Millisecond)
	return l
}
