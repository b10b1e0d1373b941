package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"
	"github.com/urfave/cli/v2"

	"quarry/internal/command"
	"quarry/internal/inputfile"
	"quarry/markets/dealmaker"
	"quarry/proofs/commp"
)

// minPiece is the smallest padded piece there is, in bytes.
const minPiece = 128

// carJSON is a packed payload as printed.
type carJSON struct {
	Path      string
	Root      string `json:",omitempty"`
	Size      uint64 // bytes
	PieceCID  cid.Cid
	PieceSize abi.PaddedPieceSize
}

func printCAR(c *cli.Context, car *dealmaker.CAR) error {
	out := carJSON{Path: car.Path, Size: car.Size, PieceCID: car.PieceCID, PieceSize: car.PieceSize}
	if car.Root.Defined() {
		out.Root = car.Root.String()
	}
	return show(c, out, func(w io.Writer) {
		if out.Root != "" {
			fmt.Fprintf(w, "root:       %s\n", out.Root)
		}
		fmt.Fprintf(w, "file:       %s\nsize:       %d bytes\npiece CID:  %s\npiece size: %d bytes (padded)\n",
			out.Path, out.Size, out.PieceCID, out.PieceSize)
	})
}

func carCommand() *cli.Command {
	return &cli.Command{
		Name:      "car",
		Usage:     "pack a file into a CAR and compute its piece commitment",
		ArgsUsage: "<file>",
		Flags:     []cli.Flag{jsonFlag, &cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "the CAR (default: <file>.car)"}},
		Action: func(c *cli.Context) error {
			file, err := oneArg(c, "the file to pack")
			if err != nil {
				return err
			}
			out := c.String("output")
			if out == "" {
				out = file + ".car"
			}
			car, err := dealmaker.Pack(c.Context, file, out, 0)
			if err != nil {
				return err
			}
			return printCAR(c, car)
		},
	}
}

func commpCommand() *cli.Command {
	return &cli.Command{
		Name:      "commp",
		Usage:     "compute the piece commitment of a payload as it is",
		ArgsUsage: "<file>",
		Flags: []cli.Flag{jsonFlag, &command.SizeFlag{StringFlag: cli.StringFlag{Name: "piece-size",
			Usage: "padded, when larger than needed; a power of two such as 2KiB"}, Least: minPiece, Power: true}},
		Action: func(c *cli.Context) error {
			file, err := oneArg(c, "the payload")
			if err != nil {
				return err
			}
			asked, err := command.Bytes(c, "piece-size")
			if err != nil {
				return err
			}
			st, err := inputfile.Check(file)
			if err != nil {
				return err
			}
			if need := commp.MinPaddedSize(uint64(st.Size())); asked > 0 && abi.PaddedPieceSize(asked) < need {
				return fmt.Errorf("--piece-size %q is too small: the %d bytes of %s need a piece of %s",
					c.String("piece-size"), st.Size(), file, command.SizeText(uint64(need)))
			}
			car, err := dealmaker.Inspect(c.Context, file, abi.PaddedPieceSize(asked))
			if err != nil {
				return err
			}
			return printCAR(c, car)
		},
	}
}

func retrieveCommand() *cli.Command {
	return &cli.Command{
		Name:      "retrieve",
		Usage:     "fetch content by its root CID from a provider's gateway and verify it",
		ArgsUsage: "<root cid>",
		Flags: []cli.Flag{jsonFlag, &cli.StringFlag{Name: "url", Usage: "the provider's HTTP address"},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "file or directory to write"}},
		Action: func(c *cli.Context) error {
			arg, err := oneArg(c, "the root CID")
			if err != nil {
				return err
			}
			root, err := cid.Decode(arg)
			if err != nil {
				return fmt.Errorf("root CID %q: %w", arg, err)
			}
			url, err := needed(c, "url")
			if err != nil {
				return err
			}
			if err := httpURL("url", url); err != nil {
				return err
			}
			output, err := needed(c, "output")
			if err != nil {
				return err
			}
			b := bar(-1, "retrieving")
			n, err := dealmaker.Retrieve(c.Context, http.DefaultClient, strings.TrimSuffix(url, "/"), root, output,
				func(n int) { _ = b.Add(n) })
			if err != nil {
				return err
			}
			_ = b.Finish()
			out := struct {
				Root   string
				Output string
				Bytes  uint64
			}{root.String(), output, n}
			return show(c, out, func(w io.Writer) { fmt.Fprintf(w, "%s: %d bytes of verified blocks\n", out.Output, n) })
		},
	}
}
