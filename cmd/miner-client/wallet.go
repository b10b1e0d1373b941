package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/filecoin-project/go-address"
	"github.com/urfave/cli/v2"

	"quarry/api"
	"quarry/internal/inputfile"
)

func walletCommand() *cli.Command {
	return &cli.Command{Name: "wallet", Usage: "addresses in the full node's wallet", Subcommands: []*cli.Command{
		{
			Name:      "new",
			Usage:     "make a key",
			ArgsUsage: "[secp256k1|bls]",
			Flags:     []cli.Flag{jsonFlag},
			Action:    walletNew,
		},
		{Name: "list", Usage: "list addresses with balances", Flags: []cli.Flag{jsonFlag}, Action: walletList},
		{
			Name:      "balance",
			Usage:     "balance of an address",
			ArgsUsage: "[address]",
			Flags:     []cli.Flag{jsonFlag},
			Action:    walletBalance,
		},
		{
			Name:      "export",
			Usage:     "print a private key in Lotus's hex form",
			ArgsUsage: "<address>",
			Action:    walletExport,
			Flags:     []cli.Flag{jsonFlag},
		},
		{
			Name:      "import",
			Usage:     "import a private key in Lotus's hex form",
			ArgsUsage: "<file or ->",
			Action:    walletImport,
			Flags:     []cli.Flag{jsonFlag},
		},
	}}
}

type balance struct {
	Address address.Address
	Balance string // attoFIL
	Escrow  string // attoFIL in the market actor
}

func walletNew(c *cli.Context) error {
	node, err := dialNode(c)
	if err != nil {
		return err
	}
	defer node.Close()
	kind := api.KeySecp256k1
	if c.NArg() > 0 {
		kind = api.KeyType(c.Args().First())
	}
	a, err := node.WalletNew(c.Context, kind)
	if err != nil {
		return fmt.Errorf("make a %s key: %w", kind, err)
	}
	return show(c, balance{Address: a, Balance: "0", Escrow: "0"}, func(w io.Writer) { fmt.Fprintln(w, a) })
}

func walletList(c *cli.Context) error {
	node, err := dialNode(c)
	if err != nil {
		return err
	}
	defer node.Close()
	addrs, err := node.WalletList(c.Context)
	if err != nil {
		return err
	}
	out := []balance{}
	for _, a := range addrs {
		b, err := node.WalletBalance(c.Context, a)
		if err != nil {
			return fmt.Errorf("balance of %s: %w", a, err)
		}
		out = append(out, balance{Address: a, Balance: b.String()})
	}
	return show(c, out, func(w io.Writer) {
		for _, b := range out {
			fmt.Fprintf(w, "%s\t%s attoFIL\n", b.Address, b.Balance)
		}
	})
}

func walletBalance(c *cli.Context) error {
	node, err := dialNode(c)
	if err != nil {
		return err
	}
	defer node.Close()
	a, err := node.WalletDefaultAddress(c.Context)
	if c.NArg() > 0 {
		a, err = parseAddress(c.Args().First())
	}
	if err != nil {
		return err
	}
	b, err := node.WalletBalance(c.Context, a)
	if err != nil {
		return fmt.Errorf("balance of %s: %w", a, err)
	}
	out := balance{Address: a, Balance: b.String(), Escrow: "0"}
	// An address that is not on chain yet has no market balance either.
	if m, err := node.StateMarketBalance(c.Context, a, nil); err == nil {
		out.Escrow = m.Escrow.String()
	}
	return show(c, out, func(w io.Writer) { fmt.Fprintf(w, "%s attoFIL, market escrow %s attoFIL\n", out.Balance, out.Escrow) })
}

func walletExport(c *cli.Context) error {
	arg, err := oneArg(c, "an address")
	if err != nil {
		return err
	}
	a, err := parseAddress(arg)
	if err != nil {
		return err
	}
	node, err := dialNode(c)
	if err != nil {
		return err
	}
	defer node.Close()
	k, err := node.WalletExport(c.Context, a)
	if err != nil {
		return fmt.Errorf("export %s: %w", a, err)
	}
	b, err := json.Marshal(k)
	if err != nil {
		return err
	}
	return show(c, k, func(w io.Writer) { fmt.Fprintln(w, hex.EncodeToString(b)) })
}

// maxKeyFile bounds a file with a private key, in bytes.
const maxKeyFile = 64 << 10

func walletImport(c *cli.Context) error {
	arg, err := oneArg(c, "a file, or - for stdin")
	if err != nil {
		return err
	}
	var raw []byte
	if arg == "-" {
		raw, err = io.ReadAll(io.LimitReader(os.Stdin, maxKeyFile))
	} else {
		raw, err = inputfile.Read(arg, maxKeyFile)
	}
	if err != nil {
		return fmt.Errorf("read key: %w", err)
	}
	dec, err := hex.DecodeString(strings.TrimSpace(string(raw)))
	if err != nil {
		return fmt.Errorf("the key is not in hex: %w", err)
	}
	var k api.KeyInfo
	if err := json.Unmarshal(dec, &k); err != nil {
		return fmt.Errorf("the key is not in Lotus's form: %w", err)
	}
	node, err := dialNode(c)
	if err != nil {
		return err
	}
	defer node.Close()
	a, err := node.WalletImport(c.Context, &k)
	if err != nil {
		return fmt.Errorf("import key: %w", err)
	}
	return show(c, balance{Address: a}, func(w io.Writer) { fmt.Fprintln(w, a) })
}
