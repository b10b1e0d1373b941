package client

import (
	"context"
	"errors"
	"strings"
	"testing"

	"quarry/api"
)

func TestNoConnectionNeeded(t *testing.T) {
	c, err := Miner(context.Background(), Config{Info: "a.b.c:/ip4/127.0.0.1/tcp/1/http", Name: "the sealing node"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.Version(context.Background())
	var un *api.ErrUnreachable
	if !errors.As(err, &un) || un.Peer != "the sealing node" || strings.Contains(err.Error(), "a.b.c") {
		t.Fatalf("got %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := c.Version(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if _, err := Chain(context.Background(), Config{}); err == nil {
		t.Fatal("a client without an address")
	}
}
