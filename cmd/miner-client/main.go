package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"

	"github.com/filecoin-project/go-address"
	lcrypto "github.com/libp2p/go-libp2p/core/crypto"
	"github.com/urfave/cli/v2"

	"quarry/api/client"
	"quarry/build"
	"quarry/internal/apiinfo"
	"quarry/internal/command"
	"quarry/internal/printable"
	"quarry/markets/dealmaker"
	mnet "quarry/markets/net"
)

func main() {
	os.Exit(command.Main(newApp(os.Stdout)))
}

var (
	jsonFlag     = &cli.BoolFlag{Name: "json", Usage: "print JSON"}
	providerFlag = &cli.StringFlag{Name: "provider", Usage: "the provider's f0 address"}
	walletFlag   = &cli.StringFlag{Name: "from", Usage: "address that pays and signs (default: the wallet's default address)"}
)

func newApp(out io.Writer) *cli.App {
	return &cli.App{
		Name:      "miner-client",
		Usage:     "make storage deals and retrieve content",
		Version:   build.Version,
		Writer:    printable.NewWriter(out), // strangers wrote parts of what is shown
		ErrWriter: printable.NewWriter(os.Stderr),
		Flags: []cli.Flag{&cli.StringFlag{Name: "node",
			Usage: "full node as token:address, or @FILE with it", DefaultText: "FULLNODE_API_INFO"}},
		Commands: []*cli.Command{walletCommand(), carCommand(), commpCommand(), askCommand(), dealCommand(), statusCommand(),
			retrieveCommand()},
	}
}

// dialNode connects to the full node.
func dialNode(c *cli.Context) (*client.ChainAPI, error) {
	info, err := apiinfo.Given(c.App.ErrWriter, "node", c.String("node"))
	if err == nil && info == "" {
		info, err = apiinfo.Env("FULLNODE_API_INFO")
	}
	if err != nil {
		return nil, err
	}
	if info == "" {
		return nil, errors.New("no full node is named: set FULLNODE_API_INFO=token:address (miner-devnet prints that line when it starts)")
	}
	return client.Chain(c.Context, client.Config{Info: info, Terminal: !c.Bool(jsonFlag.Name)})
}

// dialer is a full node and a libp2p host that only dials.
type dialer struct {
	*dealmaker.Client
	node *client.ChainAPI
}

func newDialer(c *cli.Context) (*dialer, error) {
	node, err := dialNode(c)
	if err != nil {
		return nil, err
	}
	key, _, err := lcrypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		return nil, err
	}
	h, err := mnet.NewHost(mnet.Config{Key: key, QUIC: true})
	if err != nil {
		node.Close()
		return nil, err
	}
	return &dialer{Client: &dealmaker.Client{Chain: node, Host: h}, node: node}, nil
}

func (d *dialer) Close() {
	_ = d.Host.Close()
	d.node.Close()
}

// wallet is the address to sign with.
func (d *dialer) wallet(c *cli.Context) (address.Address, error) {
	if s := c.String("from"); s != "" {
		return parseAddress(s)
	}
	a, err := d.node.WalletDefaultAddress(c.Context)
	if err != nil {
		return a, fmt.Errorf("no default address in the full node's wallet (make one with `miner-client wallet new`): %w", err)
	}
	return a, nil
}

func parseAddress(s string) (address.Address, error) {
	a, err := address.NewFromString(s)
	if err != nil {
		return a, fmt.Errorf("address %q: %w", s, err)
	}
	return a, nil
}

// needed returns the value of a flag that must be given.
func needed(c *cli.Context, name string) (string, error) {
	v := c.String(name)
	if v == "" {
		return "", fmt.Errorf("--%s is missing", name)
	}
	return v, nil
}

// httpURL refuses what is no address of an HTTP server.
func httpURL(flag, s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return fmt.Errorf("--%s %q is not a URL such as http://host:port", flag, s)
	}
	return nil
}

// oneArg returns the only argument.
func oneArg(c *cli.Context, what string) (string, error) {
	if c.NArg() != 1 {
		return "", fmt.Errorf("want exactly one argument: %s", what)
	}
	return c.Args().First(), nil
}
