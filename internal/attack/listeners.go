package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"quarry/api/client"
)

// question is a call that a peer may make.
const question = `{"jsonrpc":"2.0","id":1,"method":"Filecoin.Version","params":[]}`

// listeners keeps the private node's listener waiting in every way with many
// connections, and requires that an honest caller is answered meanwhile.
func (a *attack) listeners(sockets int) (out []try) {
	host := strings.TrimPrefix(a.Private, "http://")
	head := "POST /rpc/v1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + a.token + "\r\n"
	for name, first := range map[string]string{
		"silent":                          "",
		"with half a header":              "POST /rpc/v1 HTTP/1.1\r\nHost: x\r\nX-A",
		"with a body that never comes":    head + "Content-Length: 1000000\r\n\r\n",
		"with an endless body":            head + "Transfer-Encoding: chunked\r\n\r\n5\r\n{\"jso\r\n",
		"without a token, body announced": "POST /rpc/v1 HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n",
		"that do not read the answer":     head + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(question), question),
	} {
		out = append(out, try{fmt.Sprintf("%d connections %s", sockets, name), func(ctx context.Context) error {
			defer flood(host, sockets, first)()
			return a.honest(ctx)
		}})
	}
	for name, request := range map[string]string{
		"a header of a mebibyte": "GET /health/livez HTTP/1.1\r\nHost: x\r\nX-A: " + strings.Repeat("a", 1<<20) + "\r\n\r\n",
		"a body of 64 MiB":       head + "Content-Length: 67108864\r\n\r\n" + strings.Repeat(" ", 11<<20),
		"two lengths":            head + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
		"a length and chunks": head + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n" +
			"0\r\n\r\nGET /remote/ HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		out = append(out, try{"request with " + name, func(ctx context.Context) error {
			return errors.Join(rejected(host, request), a.honest(ctx))
		}})
	}
	return out
}

// flood opens connections that say the same; the function returned closes them.
func flood(host string, n int, first string) (end func()) {
	var open []net.Conn
	for range n {
		c, err := net.DialTimeout("tcp", host, 5*time.Second)
		if err != nil {
			break // as many as one gets
		}
		open = append(open, c)
		if _, err := c.Write([]byte(first)); err != nil {
			continue
		}
	}
	return func() {
		for _, c := range open {
			_ = c.Close() // they were never good for anything
		}
	}
}

// honest requires that an operator who comes now is answered in time. Connections
// from before that nobody uses give way to others, as they should.
func (a *attack) honest(ctx context.Context) error {
	judge := a.Judge.Info()
	c, err := client.Miner(ctx, client.Config{Info: judge.Token.Reveal() + ":" + judge.Base()})
	if err != nil {
		return fmt.Errorf("the judge: %w", err)
	}
	defer c.Close()
	start := time.Now()
	if _, err := c.Version(ctx); err != nil {
		return fmt.Errorf("an honest caller is refused: %w", err)
	}
	if took := time.Since(start); took > a.Patience {
		return fmt.Errorf("an honest caller waited for %s", took)
	}
	return nil
}

// rejected requires that a request is not answered with success.
func rejected(host, request string) error {
	c, err := net.DialTimeout("tcp", host, 5*time.Second)
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // nothing is kept
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	go func() { _, _ = c.Write([]byte(request)) }() // it may be cut in the middle
	answer := make([]byte, 64)
	n, err := c.Read(answer)
	if err != nil {
		return nil // cut
	}
	line, _, _ := strings.Cut(string(answer[:n]), "\r\n")
	if strings.Contains(line, " 20") {
		return fmt.Errorf("it was answered %q", line)
	}
	return nil
}

// strangers is what anybody may ask.
func (a *attack) strangers() []try {
	return []try{{"health of the private node says nothing", func(ctx context.Context) error {
		r, err := a.ask(ctx, http.MethodGet, a.Private+"/health/livez", "", nil)
		if err == nil && strings.TrimSpace(string(r.body)) != "ok" {
			err = fmt.Errorf("it says %q", r.body)
		}
		return err
	}}}
}
