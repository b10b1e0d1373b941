package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/google/uuid"
	"github.com/urfave/cli/v2"

	"quarry/internal/command"
	"quarry/internal/inputfile"
	"quarry/internal/ownaddr"
	"quarry/markets/dealmaker"
	"quarry/markets/wire"
)

func askCommand() *cli.Command {
	return &cli.Command{
		Name:      "ask",
		Usage:     "what a provider asks for storage",
		ArgsUsage: "<provider f0 address>",
		Flags:     []cli.Flag{jsonFlag},
		Action: func(c *cli.Context) error {
			arg, err := oneArg(c, "the provider's f0 address")
			if err != nil {
				return err
			}
			d, p, err := reach(c, arg)
			if err != nil {
				return err
			}
			defer d.Close()
			ask, err := d.Ask(c.Context, p)
			if err != nil {
				return err
			}
			return show(c, ask, func(w io.Writer) {
				fmt.Fprintf(w, "price:          %s attoFIL per GiB per epoch\nverified price: %s attoFIL per GiB per epoch\n"+
					"piece sizes:    %d to %d bytes (padded)\nvalid:          epoch %d to %d\n",
					ask.Price, ask.VerifiedPrice, ask.MinPieceSize, ask.MaxPieceSize, ask.Timestamp, ask.Expiry)
			})
		},
	}
}

func reach(c *cli.Context, provider string) (*dialer, *dealmaker.Provider, error) {
	a, err := parseAddress(provider)
	if err != nil {
		return nil, nil, err
	}
	d, err := newDialer(c)
	if err != nil {
		return nil, nil, err
	}
	p, err := d.Provider(c.Context, a)
	if err != nil {
		d.Close()
		return nil, nil, err
	}
	return d, p, nil
}

func dealCommand() *cli.Command {
	return &cli.Command{
		Name:      "deal",
		Usage:     "store a file with a provider",
		ArgsUsage: "<provider f0 address>",
		Flags: []cli.Flag{jsonFlag, walletFlag,
			&cli.StringFlag{Name: "file", Usage: "file to pack and store"},
			&cli.StringFlag{Name: "car", Usage: "payload to store as it is, instead of --file"},
			&cli.StringFlag{Name: "http-url", Usage: "where the provider can pull the payload given by --car (default: served from here)"},
			&cli.StringFlag{Name: "listen", Value: "127.0.0.1:0", Usage: "address to serve the payload on"},
			&cli.StringFlag{Name: "advertise", Usage: "host name or IP by which the provider reaches --listen"},
			&cli.Int64Flag{Name: "start-delay", Value: 8640, Usage: "epochs from now until the deal starts"},
			&cli.Int64Flag{Name: "duration", Value: 518400, Usage: "epochs"},
			&cli.BoolFlag{Name: "verified", Usage: "use the client's DataCap"},
			&cli.BoolFlag{Name: "no-fast-retrieval", Usage: "let the provider keep no unsealed copy"},
			&cli.StringFlag{Name: "until", Value: "transferred", Usage: "follow the deal until it is accepted, transferred or active"},
			&cli.DurationFlag{Name: "timeout", Usage: "give up following after this time (0: never)"},
		},
		Action: makeDeal,
	}
}

// dealJSON is what `deal` prints.
type dealJSON struct {
	UUID        uuid.UUID
	Provider    address.Address
	From        address.Address
	Root        string
	PieceCID    string
	PieceSize   abi.PaddedPieceSize
	Status      string
	ChainDealID abi.DealID
}

func makeDeal(c *cli.Context) error {
	arg, err := oneArg(c, "the provider's f0 address")
	if err != nil {
		return err
	}
	if err := dealFlags(c); err != nil {
		return err
	}
	stage := stages[c.String("until")]
	d, p, err := reach(c, arg)
	if err != nil {
		return err
	}
	defer d.Close()
	ask, err := d.Ask(c.Context, p)
	if err != nil {
		return err
	}
	car, cleanup, err := payload(c, ask)
	if err != nil {
		return err
	}
	defer cleanup()
	url := c.String("http-url")
	if url == "" {
		srv, err := dealmaker.ServeFile(car.Path, c.String("listen"), advertised(c))
		if err != nil {
			return err
		}
		defer srv.Close()
		url, stage = srv.URL, max(stage, stages["transferred"]) // somebody must serve it
	}
	params, err := propose(c, d, p, ask, car, url)
	if err != nil {
		return err
	}
	out := accepted(params, p, car)
	say(c, "deal %s accepted by %s", out.UUID, p.Miner)
	st, err := follow(c, d, p, out.From, out.UUID, stage)
	if err != nil {
		return fmt.Errorf("deal %s: %w", out.UUID, err)
	}
	if st != nil {
		out.Status, out.ChainDealID = st.DealStatus.Status, st.DealStatus.ChainDealID
	}
	return show(c, out, func(w io.Writer) {
		fmt.Fprintf(w, "deal:      %s\nprovider:  %s\nroot:      %s\npiece CID: %s\nstatus:    %s\n",
			out.UUID, out.Provider, out.Root, out.PieceCID, out.Status)
	})
}

// accepted is what is known of a deal once the provider has taken it.
func accepted(params *wire.DealParams, p *dealmaker.Provider, car *dealmaker.CAR) dealJSON {
	out := dealJSON{
		UUID:      params.DealUUID,
		Provider:  p.Miner,
		From:      params.ClientDealProposal.Proposal.Client,
		PieceCID:  car.PieceCID.String(),
		PieceSize: car.PieceSize,
		Status:    "Accepted",
	}
	if car.Root.Defined() {
		out.Root = car.Root.String()
	}
	return out
}

// advertised is the host by which the provider reaches what is served here, empty
// for the one that it listens on. One that listens on every address is reached
// under the likeliest of them, which is told.
func advertised(c *cli.Context) string {
	if host := c.String("advertise"); host != "" {
		return host
	}
	at := ownaddr.ForOthers(c.Context, ownaddr.Config{Bound: c.String("listen")})
	if !at.Guessed {
		return ""
	}
	host, _, err := net.SplitHostPort(at.HostPort)
	if err != nil {
		return ""
	}
	say(c, "the payload is served on every address; the provider is told %s (--advertise names another)", host)
	return host
}

var errNoPayload = errors.New("give exactly one of --file and --car")

// dealFlags refuses what cannot become a deal before anybody is asked.
func dealFlags(c *cli.Context) error {
	if _, ok := stages[c.String("until")]; !ok {
		return fmt.Errorf("--until %q: want accepted, transferred or active", c.String("until"))
	}
	for _, name := range []string{"start-delay", "duration"} {
		if n := c.Int64(name); n <= 0 {
			return fmt.Errorf("--%s %d is not a number of epochs above zero", name, n)
		}
	}
	file, car := c.String("file"), c.String("car")
	switch {
	case (file == "") == (car == ""):
		return errNoPayload
	case c.String("http-url") != "" && car == "":
		return errors.New("--http-url goes with --car: pack the file with `miner-client car` first")
	}
	if err := command.NotWith(c, "http-url", "listen", "advertise"); err != nil {
		return err
	}
	if url := c.String("http-url"); url != "" {
		if err := httpURL("http-url", url); err != nil {
			return err
		}
	}
	_, err := inputfile.Check(file + car)
	return err
}

// payload packs or takes what is to be stored.
func payload(c *cli.Context, ask *wire.StorageAsk) (*dealmaker.CAR, func(), error) {
	none := func() {}
	switch file, car := c.String("file"), c.String("car"); {
	case (file == "") == (car == ""):
		return nil, none, errNoPayload
	case car != "":
		out, err := dealmaker.Inspect(c.Context, car, ask.MinPieceSize)
		return out, none, err
	default:
		dir, err := os.MkdirTemp("", "miner-client-")
		if err != nil {
			return nil, none, err
		}
		cleanup := func() { _ = os.RemoveAll(dir) }
		out, err := dealmaker.Pack(c.Context, file, filepath.Join(dir, "payload.car"), ask.MinPieceSize)
		if err != nil {
			cleanup()
			return nil, none, err
		}
		return out, cleanup, nil
	}
}

func propose(c *cli.Context, d *dialer, p *dealmaker.Provider, ask *wire.StorageAsk, car *dealmaker.CAR, url string) (
	*wire.DealParams, error) {
	from, err := d.wallet(c)
	if err != nil {
		return nil, err
	}
	params, err := d.Proposal(c.Context, p, ask, car, dealmaker.Terms{
		Wallet:        from,
		StartDelay:    abi.ChainEpoch(c.Int64("start-delay")),
		Duration:      abi.ChainEpoch(c.Int64("duration")),
		Verified:      c.Bool("verified"),
		URL:           url,
		RemoveUnseal:  c.Bool("no-fast-retrieval"),
		AutoAddEscrow: true,
	})
	if err != nil {
		return nil, err
	}
	return params, d.ProposeFunded(c.Context, p, params)
}

// stages orders what --until may name.
var stages = map[string]int{"accepted": 0, "transferred": 1, "active": 2}

// reached maps a provider's checkpoint to a stage.
func reached(checkpoint string) int {
	switch checkpoint {
	case "Accepted":
		return 0
	case "Complete":
		return 2
	}
	return 1
}

const (
	pollEvery   = time.Second
	maxFailures = 60 // status requests in a row
)

// follow polls the status until the stage is reached. Failed requests are
// repeated: a provider may restart meanwhile.
func follow(c *cli.Context, d *dialer, p *dealmaker.Provider, from address.Address, id uuid.UUID, stage int) (
	*wire.DealStatusResponse, error) {
	if stage == 0 {
		return nil, nil
	}
	ctx := c.Context
	if t := c.Duration("timeout"); t > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, t)
		defer cancel()
	}
	f := &follower{c: c}
	defer f.done()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for failures := 0; ; {
		st, err := d.Status(ctx, p, from, id)
		switch {
		case err == nil && st.DealStatus.Error != "" && st.DealStatus.Status == "Complete":
			return st, fmt.Errorf("failed: %s", st.DealStatus.Error)
		case err == nil && reached(st.DealStatus.Status) >= stage:
			f.report(st)
			return st, nil
		case err == nil:
			failures = 0
			f.report(st)
		default:
			if failures++; failures >= maxFailures {
				return nil, fmt.Errorf("the provider does not tell how the deal stands: %w", err)
			}
			_ = d.Host.Connect(ctx, p.Peer)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("stopped following (the deal goes on; ask with `miner-client status`): %w", ctx.Err())
		case <-tick.C:
		}
	}
}
