package main

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/ipfs/go-cid"
	"github.com/urfave/cli/v2"

	"quarry/api"
	"quarry/api/client"
	"quarry/internal/apiinfo"
	"quarry/internal/command"
	"quarry/internal/inputfile"
	"quarry/node/repo"
)

// dial connects to the node of the repo, or to FULLNODE_API_INFO when the repo
// flag was not given and the variable is set.
func dial(c *cli.Context) (*client.ChainAPI, error) {
	info, err := apiinfo.Env("FULLNODE_API_INFO")
	if err != nil && !command.Typed(c, "repo") {
		return nil, err
	}
	if info == "" || command.Typed(c, "repo") {
		dir, err := repo.Expand(c.String("repo"))
		if err != nil {
			return nil, err
		}
		if info, err = repo.APIInfo(dir); err != nil {
			return nil, err
		}
	}
	return client.Chain(c.Context, client.Config{Info: info, Terminal: !c.Bool("json")})
}

// show prints v as JSON when asked, else as text.
func show(c *cli.Context, v any, text string) error {
	if !c.Bool("json") {
		_, err := fmt.Fprintln(c.App.Writer, text)
		return err
	}
	e := json.NewEncoder(c.App.Writer)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// with runs fn with a connection.
func with(fn func(c *cli.Context, n *client.ChainAPI) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		n, err := dial(c)
		if err != nil {
			return err
		}
		defer n.Close()
		return fn(c, n)
	}
}

func statusCmd() *cli.Command {
	return &cli.Command{Name: "status", Usage: "height, pace and miners", Flags: []cli.Flag{jsonFlag()},
		Action: with(func(c *cli.Context, n *client.ChainAPI) error {
			st, err := n.DevnetStatus(c.Context)
			if err != nil {
				return err
			}
			head, err := n.ChainHead(c.Context)
			if err != nil {
				return err
			}
			return show(c, st,
				fmt.Sprintf("network  %s\nepoch    %d (head at %d with %d blocks)\npace     %d ms\nminers   %d\nproofs   %s\nwarping  %v",
					st.NetworkName, st.Height, head.Height, len(head.Blocks), st.PaceMillis, st.Miners,
					strings.Join(st.ProofKinds, ", "), st.Warping))
		})}
}

func jsonFlag() cli.Flag { return &cli.BoolFlag{Name: "json", Usage: "print JSON"} }

func warpCmd() *cli.Command {
	return &cli.Command{
		Name:      "warp",
		Usage:     "run epochs back to back; stops before a miner must prove something",
		ArgsUsage: "EPOCHS",
		Flags:     []cli.Flag{jsonFlag(), &cli.BoolFlag{Name: "allow-missed-post", Usage: "do not stop: miners may lose power"}},
		Action: with(func(c *cli.Context, n *client.ChainAPI) error {
			count, err := strconv.ParseInt(c.Args().First(), 10, 64)
			if err != nil || count < 1 {
				return fmt.Errorf("want one argument, the number of epochs (2880 are a day), not %q", c.Args().Slice())
			}
			h, err := n.DevnetWarp(c.Context, abi.ChainEpoch(count), c.Bool("allow-missed-post"))
			if err != nil {
				return err
			}
			return show(c, map[string]abi.ChainEpoch{"Height": h}, fmt.Sprintf("epoch %d", h))
		}),
	}
}

func walletCmd() *cli.Command {
	sub := func(name, args, usage string, fn func(c *cli.Context, n *client.ChainAPI) error, flags ...cli.Flag) *cli.Command {
		return &cli.Command{
			Name:      name,
			ArgsUsage: args,
			Usage:     usage,
			Flags:     append(flags, jsonFlag()),
			Action:    with(fn),
		}
	}
	return &cli.Command{Name: "wallet", Usage: "keys and funds", Subcommands: []*cli.Command{
		sub("new", "[bls|secp256k1]", "make a key", walletNew),
		sub("list", "", "addresses with balances", walletList),
		sub("balance", "[ADDRESS]", "balance in FIL", walletBalance),
		sub("send", "ADDRESS FIL", "send FIL and wait", walletSend,
			&cli.StringFlag{Name: "from", Usage: "sender `ADDRESS`; default: the default address"},
			&cli.BoolFlag{Name: "from-faucet", Usage: "send from the faucet"}),
		sub("import", "[FILE]", "import a key in Lotus form (hex of JSON) from a file or stdin", walletImport),
		sub("export", "ADDRESS", "print a private key in Lotus form", walletExport),
	}}
}

func walletNew(c *cli.Context, n *client.ChainAPI) error {
	kind := api.KeyType(c.Args().First())
	if kind == "" {
		kind = api.KeySecp256k1
	}
	a, err := n.WalletNew(c.Context, kind)
	if err != nil {
		return err
	}
	return show(c, a, a.String())
}

type listed struct {
	Address address.Address
	Balance abi.TokenAmount
	Default bool
}

func walletList(c *cli.Context, n *client.ChainAPI) error {
	as, err := n.WalletList(c.Context)
	if err != nil {
		return err
	}
	def, err := n.WalletDefaultAddress(c.Context)
	if err != nil {
		def = address.Undef
	}
	out, text := []listed{}, []string{}
	for _, a := range as {
		b, err := n.WalletBalance(c.Context, a)
		if err != nil {
			return err
		}
		out = append(out, listed{a, b, a == def})
		mark := ""
		if a == def {
			mark = "  default"
		}
		text = append(text, fmt.Sprintf("%s  %s%s", a, filText(b), mark))
	}
	return show(c, out, strings.Join(text, "\n"))
}

func addressArg(c *cli.Context, n *client.ChainAPI, i int) (address.Address, error) {
	if s := c.Args().Get(i); s != "" {
		a, err := address.NewFromString(s)
		if err != nil {
			return a, fmt.Errorf("address %q: %w", s, err)
		}
		return a, nil
	}
	return n.WalletDefaultAddress(c.Context)
}

func walletBalance(c *cli.Context, n *client.ChainAPI) error {
	a, err := addressArg(c, n, 0)
	if err != nil {
		return err
	}
	b, err := n.WalletBalance(c.Context, a)
	if err != nil {
		return err
	}
	return show(c, b, filText(b))
}

func walletSend(c *cli.Context, n *client.ChainAPI) error {
	if c.Args().Len() != 2 {
		return errors.New("give an address and an amount in FIL")
	}
	to, err := addressArg(c, n, 0)
	if err != nil {
		return err
	}
	amount, err := parseFIL(c.Args().Get(1))
	if err != nil {
		return err
	}
	id, err := push(c, n, to, amount)
	if err != nil {
		return err
	}
	l, err := n.StateWaitMsg(c.Context, id, 1, -1, true)
	if err != nil {
		return err
	}
	if l.Receipt.ExitCode != 0 {
		return fmt.Errorf("message %s failed with exit code %d", id, l.Receipt.ExitCode)
	}
	return show(c, l, id.String())
}

func push(c *cli.Context, n *client.ChainAPI, to address.Address, amount abi.TokenAmount) (cid.Cid, error) {
	if c.Bool("from-faucet") {
		return n.DevnetFund(c.Context, to, amount)
	}
	from, err := n.WalletDefaultAddress(c.Context)
	if s := c.String("from"); s != "" {
		from, err = address.NewFromString(s)
	}
	if err != nil {
		return cid.Undef, err
	}
	s, err := n.MpoolPushMessage(c.Context, &api.Message{
		To:         to,
		From:       from,
		Value:      amount,
		GasFeeCap:  big.Zero(),
		GasPremium: big.Zero(),
	}, nil)
	if err != nil {
		return cid.Undef, err
	}
	return s.Cid(), nil
}

// maxKeyFile bounds a file with a private key, in bytes.
const maxKeyFile = 4096

// keyText reads a file, or standard input where none is named.
func keyText(file string) ([]byte, error) {
	if file == "" || file == "-" {
		return io.ReadAll(io.LimitReader(os.Stdin, maxKeyFile))
	}
	return inputfile.Read(file, maxKeyFile)
}

func walletImport(c *cli.Context, n *client.ChainAPI) error {
	text, err := keyText(c.Args().First())
	if err != nil {
		return fmt.Errorf("read key: %w", err)
	}
	raw, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		return fmt.Errorf("the key is not hex: %w", err)
	}
	var k api.KeyInfo
	if err := json.Unmarshal(raw, &k); err != nil {
		return fmt.Errorf("the key is not JSON inside the hex: %w", err)
	}
	a, err := n.WalletImport(c.Context, &k)
	if err != nil {
		return err
	}
	return show(c, a, a.String())
}

func walletExport(c *cli.Context, n *client.ChainAPI) error {
	if c.NArg() != 1 {
		return errors.New("name one address; `miner-devnet wallet list` prints them")
	}
	a, err := address.NewFromString(c.Args().First())
	if err != nil {
		return fmt.Errorf("address %q: %w", c.Args().First(), err)
	}
	k, err := n.WalletExport(c.Context, a)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(k)
	if err != nil {
		return err
	}
	return show(c, k, hex.EncodeToString(raw))
}
