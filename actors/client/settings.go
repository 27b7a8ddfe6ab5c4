package client

import "time"

// Settings are the timings of runtime.md 10 (keys client.*); zero fields take the defaults named here.
type Settings struct {
	ConnectingMinTimeout          time.Duration // limit of the first attempt, 50s; doubles per try
	ConnectingMaxTimeout          time.Duration // 60m
	ConnectingMaxTries            int           // attempts after the first, 50; then the client rests until it is opened again
	MinBackoff                    time.Duration // wait after the first failure, 5s; doubles per try
	MaxBackoff                    time.Duration // 60m
	DisconnectAnnouncementTimeout time.Duration // from the closed announcement to the disconnect, 3s
	DisconnectingMaxTimeout       time.Duration // then the sockets are closed without ceremony, 5s
	TestingTimeout                time.Duration // 10s
	ProbeTimeout                  time.Duration // TCP connect before each attempt, 2s
}

func (s Settings) withDefaults() Settings {
	for _, f := range []struct {
		d *time.Duration
		v time.Duration
	}{
		{&s.ConnectingMinTimeout, 50 * time.Second}, {&s.ConnectingMaxTimeout, time.Hour},
		{&s.MinBackoff, 5 * time.Second}, {&s.MaxBackoff, time.Hour},
		{&s.DisconnectAnnouncementTimeout, 3 * time.Second}, {&s.DisconnectingMaxTimeout, 5 * time.Second},
		{&s.TestingTimeout, 10 * time.Second}, {&s.ProbeTimeout, 2 * time.Second},
	} {
		if *f.d <= 0 {
			*f.d = f.v
		}
	}
	if s.ConnectingMaxTries <= 0 {
		s.ConnectingMaxTries = 50
	}
	return s
}

// limit is the time that the attempt after tries retries may take.
func (s Settings) limit(tries int) time.Duration {
	return doubled(s.ConnectingMinTimeout, tries, s.ConnectingMaxTimeout)
}

// backoff is the wait after a failure of that attempt.
func (s Settings) backoff(tries int) time.Duration { return doubled(s.MinBackoff, tries, s.MaxBackoff) }

// doubled is d doubled n times, at most maximum.
func doubled(d time.Duration, n int, maximum time.Duration) time.Duration {
	for ; n > 0 && d < maximum; n-- {
		d *= 2
	}
	return min(d, maximum)
}
