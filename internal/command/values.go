package command

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

// checked reads a value as what its flag takes and gives the form that the
// library reads.
func checked(f cli.Flag, value string) (string, error) {
	switch f := f.(type) {
	case *SizeFlag:
		_, err := f.parse(value)
		return value, err
	case *cli.DurationFlag:
		d, err := ParseDuration(value)
		return d.String(), err
	case *cli.BoolFlag:
		b, err := strconv.ParseBool(value)
		if err != nil {
			return "", errors.New("it is true or false")
		}
		return strconv.FormatBool(b), nil
	case *cli.IntFlag:
		return value, whole(strconv.ParseInt(value, 10, strconv.IntSize))
	case *cli.Int64Flag:
		return value, whole(strconv.ParseInt(value, 10, 64))
	case *cli.UintFlag:
		return value, natural(strconv.ParseUint(value, 10, strconv.IntSize))
	case *cli.Uint64Flag:
		return value, natural(strconv.ParseUint(value, 10, 64))
	}
	return value, nil
}

func whole(_ int64, err error) error {
	if err != nil {
		return errors.New("it is not a whole number")
	}
	return nil
}

func natural(_ uint64, err error) error {
	if err != nil {
		return errors.New("it is not a whole number of zero or more")
	}
	return nil
}

const day = 24 * time.Hour

// maxDays are the days that a duration can hold.
const maxDays = int64((1<<63 - 1) / day)

// ParseDuration reads a span of time of zero or more, as [time.ParseDuration]
// does ("1h30m", "250ms"), and whole days ("30d").
func ParseDuration(s string) (time.Duration, error) {
	if number, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseInt(number, 10, 64)
		switch {
		case err != nil:
			return 0, errors.New(`it is not a whole number of days such as "30d"`)
		case n < 0:
			return 0, errors.New("it is negative")
		case n > maxDays:
			return 0, errors.New("it is longer than can be counted")
		}
		return time.Duration(n) * day, nil
	}
	d, err := time.ParseDuration(s)
	switch {
	case err != nil:
		return 0, errors.New(`it is not a span of time such as "90s", "1h30m" or "30d"`)
	case d < 0:
		return 0, errors.New("it is negative")
	}
	return d, nil
}
