package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"quarry/api"
	"quarry/build"
	"quarry/internal/apiinfo"
	"quarry/internal/command"
	"quarry/internal/secret"
)

func stopCommand() *cli.Command {
	return &cli.Command{
		Name: "stop", Usage: "stop the running node",
		Action: func(c *cli.Context) error {
			n, err := dialCommon(c)
			if err != nil {
				return err
			}
			defer n.Close()
			return n.Shutdown(c.Context)
		},
	}
}

func versionCommand() *cli.Command {
	return &cli.Command{
		Name: "version", Usage: "print the version of this command and of the node it talks to", Flags: []cli.Flag{jsonFlag},
		Action: func(c *cli.Context) error {
			n, err := dialCommon(c)
			if err != nil {
				return err
			}
			defer n.Close()
			v, err := n.Version(c.Context)
			if err != nil {
				return err
			}
			return show(c, v, func(w io.Writer) {
				fmt.Fprintf(w, "command: %s\nnode:    %s (API %d.%d.%d)\n", build.Version, v.Version,
					v.APIVersion>>16, v.APIVersion>>8&0xff, v.APIVersion&0xff)
			})
		},
	}
}

func waitAPICommand() *cli.Command {
	return &cli.Command{
		Name: "wait-api", Usage: "wait until the node answers",
		Flags: []cli.Flag{&cli.DurationFlag{Name: "timeout", Value: 30 * time.Second}},
		Action: func(c *cli.Context) error {
			ctx, cancel := context.WithTimeout(c.Context, c.Duration("timeout"))
			defer cancel()
			tick := time.NewTicker(200 * time.Millisecond)
			defer tick.Stop()
			var last error
			for {
				if last = tryVersion(ctx, c); last == nil {
					return nil
				}
				select {
				case <-ctx.Done():
					return fmt.Errorf("no answer within %s: %w", c.Duration("timeout"), last)
				case <-tick.C:
				}
			}
		},
	}
}

func tryVersion(ctx context.Context, c *cli.Context) error {
	n, err := dialCommon(c)
	if err != nil {
		return err
	}
	defer n.Close()
	_, err = n.Version(ctx)
	return err
}

func authCommand() *cli.Command {
	perm := &cli.StringFlag{Name: "perm", Usage: "read, write, sign or admin"}
	role := &cli.StringFlag{Name: "role", Usage: "markets-peer, worker or link: just what that peer needs"}
	name := &cli.StringFlag{Name: "name", Usage: "what the token is for; shown in the list"}
	expires := &cli.DurationFlag{Name: "expires", Usage: "how long it is valid (default: until revoked)"}
	return &cli.Command{
		Name: "auth", Usage: "tokens",
		Subcommands: []*cli.Command{
			{Name: "create-token", Usage: "print a new token", Flags: []cli.Flag{perm, role, name, expires, outFlag},
				Action: func(c *cli.Context) error {
					token, err := createToken(c)
					if err != nil {
						return err
					}
					return handOut(c, token)
				}},
			{Name: "api-info", Usage: "print the environment line for reaching this node with a new token",
				Flags:  []cli.Flag{perm, role, name, expires, outFlag},
				Action: apiInfo},
			{Name: "list", Usage: "list issued tokens", Flags: []cli.Flag{jsonFlag}, Action: listTokens},
			{
				Name:      "revoke",
				Usage:     "make a token invalid",
				ArgsUsage: "ID",
				Flags:     []cli.Flag{command.YesFlag()},
				Action:    revokeToken,
			},
			rotateCommand(),
		},
	}
}

func createToken(c *cli.Context) (string, error) {
	if (c.String("perm") == "") == (c.String("role") == "") {
		return "", errors.New("give either --perm (read, write, sign, admin) or --role (markets-peer, worker, link)")
	}
	expires, err := expiry(c, time.Now())
	if err != nil {
		return "", err
	}
	if err := freeFile(c); err != nil {
		return "", err
	}
	n, err := dialCommon(c)
	if err != nil {
		return "", err
	}
	defer n.Close()
	req := api.TokenRequest{
		Name:    c.String("name"),
		Role:    api.Role(c.String("role")),
		Perm:    api.Permission(c.String("perm")),
		Expires: expires,
	}
	return n.AuthCreate(c.Context, req)
}

func apiInfo(c *cli.Context) error {
	variable, find := "MINER_API_INFO", minerInfo
	if c.Bool(flagOnMarkets) {
		variable, find = "MARKETS_API_INFO", marketsInfo
	}
	token, err := createToken(c)
	if err != nil {
		return err
	}
	addr, err := advertised(c, find)
	if err != nil {
		return err
	}
	return handOut(c, variable+"="+apiinfo.Format(secret.New(token), addr))
}

// advertised is the address under which others reach the node: what it says of
// itself, since the one that this command found it under may lead to nowhere from
// elsewhere. What is only a guess is said on standard error.
func advertised(c *cli.Context, find func(*cli.Context) (string, error)) (string, error) {
	n, err := dialWith(c, find)
	if err != nil {
		return "", err
	}
	defer n.Close()
	s, err := n.NodeStatus(c.Context)
	if err != nil { // the token is made; where it leads is as good as this command knows
		fmt.Fprintf(c.App.ErrWriter, "note: this is how the node is reached from here; it does not tell how others reach it: %v\n", err)
		return n.Info().Base(), nil
	}
	for _, note := range s.Notices {
		if strings.Contains(note.Do, "RemoteListenAddress") {
			fmt.Fprintf(c.App.ErrWriter, "note: %s; %s\n", note.Text, note.Do)
		}
	}
	if s.Address != "" {
		return s.Address, nil
	}
	return n.Info().Base(), nil
}

func listTokens(c *cli.Context) error {
	n, err := dialCommon(c)
	if err != nil {
		return err
	}
	defer n.Close()
	list, err := n.AuthList(c.Context)
	if err != nil {
		return err
	}
	return show(c, list, func(w io.Writer) {
		t := newTable(w, "ID", "Name", "Role", "Allow", "Created", "Used", "State")
		for _, k := range list {
			used := ""
			if !k.LastUsed.IsZero() {
				used = k.LastUsed.UTC().Format(time.RFC3339)
			}
			t.AppendRow([]any{
				k.ID,
				k.Name,
				k.Role,
				k.Allow,
				k.Created.Format(time.RFC3339),
				used,
				tokenState(k, time.Now()),
			})
		}
		t.Render()
	})
}

func netCommand() *cli.Command {
	call := func(print func(w io.Writer, p api.PeerInfo)) cli.ActionFunc {
		return func(c *cli.Context) error {
			n, err := dialMarkets(c)
			if err != nil {
				return err
			}
			defer n.Close()
			p, err := n.NetAddrsListen(c.Context)
			if err != nil {
				return err
			}
			return show(c, p, func(w io.Writer) { print(w, p) })
		}
	}
	return &cli.Command{
		Name: "net", Usage: "the libp2p host of the markets node",
		Subcommands: []*cli.Command{
			{Name: "id", Usage: "print the peer id", Flags: []cli.Flag{jsonFlag}, Action: call(func(w io.Writer, p api.PeerInfo) {
				fmt.Fprintln(w, p.ID)
			})},
			{Name: "listen", Usage: "print the addresses it listens on", Flags: []cli.Flag{jsonFlag},
				Action: call(func(w io.Writer, p api.PeerInfo) {
					for _, a := range p.Addrs {
						fmt.Fprintf(w, "%s/p2p/%s\n", a, p.ID)
					}
				})},
		},
	}
}
