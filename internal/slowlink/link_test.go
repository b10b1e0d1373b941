package slowlink

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// joined is a link between two pipes, in the time of the test's bubble.
func joined(t *testing.T, delay time.Duration) (l *Link, near, far net.Conn) {
	t.Helper()
	l = newLink(Config{Delay: delay})
	near, a := net.Pipe()
	b, far := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.join(a, b)
	}()
	t.Cleanup(func() {
		l.stop()
		_, _ = near.Close(), far.Close()
		<-done
	})
	return l, near, far
}

func send(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

func take(t *testing.T, c net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("got %q, %v; want %q", got, err, want)
	}
}

func TestBytesTakeTheDelayEachWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, near, far := joined(t, 200*time.Millisecond)
		began := time.Now()
		send(t, near, "there")
		take(t, far, "there")
		if d := time.Since(began); d != 200*time.Millisecond {
			t.Errorf("there: %s", d)
		}
		send(t, far, "back")
		take(t, near, "back")
		if d := time.Since(began); d != 400*time.Millisecond {
			t.Errorf("there and back: %s", d)
		}
	})
}

// Delay is no lack of room: what was sent at once arrives at once.
func TestDelayDoesNotAddUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, near, far := joined(t, time.Second)
		began := time.Now()
		for range 10 {
			send(t, near, "x")
		}
		take(t, far, "xxxxxxxxxx")
		if d := time.Since(began); d != time.Second {
			t.Errorf("ten bytes took %s", d)
		}
	})
}

func TestCutLinkIsSilentAndLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, near, far := joined(t, 0)
		l.Cut()
		l.Cut()
		send(t, near, "late")
		if err := far.SetReadDeadline(time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		var timeout net.Error
		if n, err := far.Read(make([]byte, 1)); n != 0 || !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Fatalf("a cut link gave %d bytes, %v", n, err)
		}
		if err := far.SetReadDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		l.Heal()
		l.Heal()
		take(t, far, "late")
	})
}

func TestEndOfAConnectionPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, near, far := joined(t, 200*time.Millisecond)
		began := time.Now()
		send(t, near, "last")
		if err := near.Close(); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(far)
		if err != nil || string(got) != "last" || time.Since(began) < 200*time.Millisecond {
			t.Fatalf("got %q, %v after %s", got, err, time.Since(began))
		}
	})
}

// Over real sockets: much data goes through unchanged, and half-closed
// connections still answer.
func TestRealConnections(t *testing.T) {
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() {
		for {
			c, err := echo.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				b, _ := io.ReadAll(c) // answers only after the end of the question
				_, _ = c.Write(b)
			}()
		}
	}()
	l, err := New(Config{To: echo.Addr().String(), Delay: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", l.in.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	sent := make([]byte, 5<<20)
	if _, err := rand.Read(sent); err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = c.Write(sent)
		_ = c.(*net.TCPConn).CloseWrite()
	}()
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("%d bytes came back, %v", len(got), err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if c, err := net.Dial("tcp", l.in.Addr().String()); err == nil {
		c.Close()
		t.Fatal("a closed link still listens")
	}
}

// Nobody at the other end: the connection ends.
func TestNobodyListens(t *testing.T) {
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	l, err := New(Config{To: gone.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.in.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Fatalf("read %d bytes from nobody, %v", n, err)
	}
}
