package node

import (
	"context"
	"fmt"
	"net"
	"net/url"

	"quarry/api"
	"quarry/api/client"
	"quarry/internal/ownaddr"
)

// tellAddress decides under which URL others reach the API. One that listens on
// every address is reached under none that it is bound to: without a setting the
// likeliest is told, and the operator is told which and how to change it.
func (n *Node) tellAddress(ctx context.Context) {
	n.base = n.set.RemoteURL
	if n.base == "" {
		at := ownaddr.ForOthers(ctx, ownaddr.Config{Bound: n.srv.Addr(), Peer: n.otherHalf()})
		n.base = "http://" + at.HostPort
		if note, ok := guessedNote(at, n.srv.Addr()); ok {
			n.common.notices.set("api address", note)
			n.log.Warn(note.Text, "do", note.Do)
		}
	}
	n.common.mu.Lock()
	defer n.common.mu.Unlock()
	n.common.address = n.base
}

// guessedNote says that an address was chosen where a setting is missing.
func guessedNote(at ownaddr.Choice, bound string) (api.Notice, bool) {
	if !at.Guessed {
		return api.Notice{}, false
	}
	_, port, _ := net.SplitHostPort(bound) // it is bound
	note := api.Notice{
		Text: fmt.Sprintf("the API listens on every address; others are told http://%s", at.HostPort),
		Do:   "where they reach it under another, set API.RemoteListenAddress to that, as HOST:" + port,
	}
	if at.Local {
		note.Text += ", which only this machine reaches: it has no other address"
	}
	return note, true
}

// otherHalf is the host:port of the private node, as the config of a markets node
// names it; empty on others.
func (n *Node) otherHalf() string {
	if n.set.Sealing || n.set.SealerInfo == "" {
		return ""
	}
	info, err := client.ParseInfo(n.set.SealerInfo)
	if err != nil {
		return "" // refused when it is dialled
	}
	u, err := url.Parse(info.Base())
	if err != nil {
		return ""
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443"}[u.Scheme]
	}
	if port == "" {
		port = "80"
	}
	return net.JoinHostPort(u.Hostname(), port)
}
