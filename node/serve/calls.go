package serve

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
)

// Limits of one websocket. A call counts until its answer goes out.
const (
	maxCalls         = 512     // being answered
	maxSubscriptions = 64      // open
	maxSubscribed    = 100_000 // ever; the library keeps something of each
	maxRequests      = 4       // times the biggest request: bytes of calls being answered
)

// Messages of the library's own protocol on a websocket.
const (
	methodCancel = "xrpc.cancel"
	methodClosed = "xrpc.ch.close"
)

// Codes of JSON-RPC for what never reaches the library.
const (
	codeParse   = -32700
	codeInvalid = -32600
	codeBusy    = -32000
)

// call is one that was handed to the library.
type call struct {
	raw       []byte // its id; nil for a notification, whose answer nobody wants
	bytes     int64
	subscribe bool
	answered  bool
	channel   uint64 // of an answered subscription
}

// calls are those of one websocket.
type calls struct {
	limit      int64
	subscribes func(method string) bool

	mu         sync.Mutex
	last       uint64
	open       map[uint64]*call
	running    int
	bytes      int64
	subscribed int // open
	ever       int // subscribed
}

// incoming reads a message of the client. Parts go to the library; an answer goes
// back at once; neither, when there is nothing to be done with it.
func (c *calls) incoming(b []byte) (parts [][]byte, answer []byte) {
	at := skipSpace(b, 0)
	if at < len(b) && b[at] == '[' {
		return nil, refusal(nil, codeInvalid, "several calls in one message are taken over HTTP only")
	}
	e, raw, fault := readCall(b, at)
	if fault != nil {
		return nil, fault
	}
	switch {
	case !e.hasMethod: // an answer to a call of ours
		return [][]byte{b}, nil
	case e.method == methodCancel:
		return c.cancel(b, e), nil
	case strings.HasPrefix(e.method, "xrpc."):
		return [][]byte{b}, nil
	}
	n, why := c.begin(&call{raw: raw, bytes: int64(len(b)), subscribe: c.subscribes(e.method)})
	if why != "" {
		if raw == nil {
			return nil, nil
		}
		return nil, refusal(raw, codeBusy, why)
	}
	if raw == nil { // without an id the library would not say when it is done
		return [][]byte{b[:at+1], []byte(`"id":`), ownID(n), []byte(","), b[at+1:]}, nil
	}
	return e.replaced(b, 0, len(b), ownID(n)), nil
}

// readCall reads a message that the library will understand, or says what is
// wrong with it: the library would say nothing.
func readCall(b []byte, at int) (e envelope, raw, fault []byte) {
	var typed struct {
		Jsonrpc string
		Meta    map[string]string
		Error   *struct {
			Code    int
			Message string
		}
	}
	err := json.Unmarshal(b, &typed)
	var kind *json.UnmarshalTypeError
	if err != nil && !errors.As(err, &kind) || b[at] != '{' {
		return e, nil, refusal(nil, codeParse, "Parse error")
	}
	e, scan := readEnvelope(b, at)
	if scan != nil {
		return e, nil, refusal(nil, codeParse, "Parse error")
	}
	raw, bad := e.id(b)
	switch {
	case bad != nil:
		return e, nil, refusal(nil, codeInvalid, bad.Error())
	case err != nil, e.hasMethod && e.method == "", !e.hasMethod && !e.isAnswer:
		return e, nil, refusal(raw, codeInvalid, "Invalid request")
	}
	return e, raw, nil
}

// begin counts a call in, or tells why it is not taken.
func (c *calls) begin(k *call) (n uint64, why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.running >= maxCalls || c.running > 0 && c.bytes+k.bytes > maxRequests*c.limit:
		return 0, fmt.Sprintf("too many calls at once on this connection (at most %d, and %d bytes); wait for answers",
			maxCalls, maxRequests*c.limit)
	case k.subscribe && c.subscribed >= maxSubscriptions:
		return 0, fmt.Sprintf("too many subscriptions on this connection (at most %d); end some", maxSubscriptions)
	case k.subscribe && c.ever >= maxSubscribed:
		return 0, "too many subscriptions on this connection over time; open a new one"
	}
	c.last++
	if c.open == nil {
		c.open = map[uint64]*call{}
	}
	c.open[c.last] = k
	c.running++
	c.bytes += k.bytes
	if k.subscribe {
		c.subscribed++
		c.ever++
	}
	return c.last, ""
}

// cancel names the call to be cancelled as the library knows it.
func (c *calls) cancel(b []byte, e envelope) [][]byte {
	var params []json.RawMessage
	if json.Unmarshal(b[e.params.from:e.params.to], &params) != nil || len(params) == 0 {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var found uint64
	for n, k := range c.open { // of equal ids the last
		if k.raw != nil && bytes.Equal(k.raw, params[0]) && n > found {
			found = n
		}
	}
	k := c.open[found]
	if k == nil {
		return nil
	}
	if k.answered { // a subscription: it ends now
		c.drop(found, k)
	}
	return [][]byte{[]byte(`{"jsonrpc":"2.0","method":"` + methodCancel + `","params":[`), ownID(found), []byte(`]}`)}
}

// drop forgets a call; the caller holds the lock.
func (c *calls) drop(n uint64, k *call) {
	delete(c.open, n)
	if k.subscribe {
		c.subscribed--
	}
}

// answered gives the id for an answer of the library. Nobody waits for one
// without a raw id. A subscription stays open until closed names its channel.
func (c *calls) answered(own []byte, failed bool) (k *call, known bool) {
	n, ok := ownNumber(own)
	if !ok {
		return nil, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	k = c.open[n]
	if k == nil || k.answered {
		return nil, false
	}
	k.answered = true
	c.running--
	c.bytes -= k.bytes
	if failed || !k.subscribe {
		c.drop(n, k)
	}
	return k, true
}

// named notes the channel of an answered subscription.
func (c *calls) named(k *call, answer []byte) {
	var a struct{ Result uint64 }
	if json.Unmarshal(answer, &a) != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	k.channel = a.Result
}

// closed notes that the library told the client the end of a subscription.
func (c *calls) closed(message []byte) {
	var m struct{ Params []uint64 }
	if json.Unmarshal(message, &m) != nil || len(m.Params) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for n, k := range c.open {
		if k.subscribe && k.answered && k.channel == m.Params[0] {
			c.drop(n, k)
			return
		}
	}
}

// refusal is an answer that the library has no part in.
func refusal(id []byte, code int, text string) []byte {
	if id == nil {
		id = []byte("null")
	}
	said, err := json.Marshal(text)
	if err != nil { // a string
		said = []byte(`""`)
	}
	return fmt.Appendf(nil, `{"error":{"code":%d,"message":%s},"id":%s,"jsonrpc":"2.0"}`, code, said, id)
}
