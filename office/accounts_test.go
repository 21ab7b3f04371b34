package office

import (
	"reflect"
	"strings"
	"testing"

	"github.com/siproam/siproam/registrar"
	"github.com/siproam/siproam/roam"
)

// south is a configuration as far as accounts need it.
func south() *Config {
	return &Config{Office: "south", Domain: "south.example", Numbers: roam.Numbers{Country: "1", Extensions: map[string]string{"2xxx": "+15550002xxx"}}}
}

func TestReadAccounts(t *testing.T) {
	hex := strings.Repeat("0a", 16)
	csv := "user,name,aliases,password,abilities,ha1\n# a comment\n2001,Carol,carol +15559990000,secret,tls outbound,\ndan@south.example, Dan ,,,," + strings.ToUpper(hex) + "\n"
	got, err := ReadAccounts(south(), "users.csv", strings.NewReader(csv))
	if err != nil {
		t.Fatal(err)
	}
	want := []registrar.Account{
		{User: registrar.User{ID: "2001@south.example", Name: "Carol", Number: "+15550002001", Short: "2001", Aliases: []string{"carol@south.example", "+15559990000"}, Abilities: []string{"tls", "outbound"}}, Password: "secret"},
		{User: registrar.User{ID: "dan@south.example", Name: "Dan"}, HA1: map[string][]string{"dan": {hex, ""}}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestReadAccountsMistakes(t *testing.T) {
	for _, c := range []struct{ csv, want string }{
		{"", "no first line"},
		{"usr,password\n", `users.csv:1: column "usr" is unknown`},
		{"name,password\n", "users.csv:1: no column user"},
		{"user,password\n2001,\n2002,\n", "users.csv:2: user 2001@south.example: neither password nor ha1\nusers.csv:3: user 2002@south.example: neither"},
		{"user,password,ha1\n2001,x,y\n", "a password and an ha1"},
		{"user,ha1\n2001,abc\n", "an ha1 is 32 hex digits"},
		{"user,password\n2001@north.example,x\n", "the domain here is south.example"},
		{"user,password\n\"a b\",x\n", "not a name"},
		{"user,password,abilities\n2001,x,TLS\n", "user 2001: abilities: ability \"TLS\": want udp"},
		{"user,password,calls\n2001,x,many\n", "calls: \"many\": want a number"},
		{"user,password\n2001\n", "wrong number of fields"},
	} {
		if _, err := ReadAccounts(south(), "users.csv", strings.NewReader(c.csv)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want %q", c.csv, err, c.want)
		}
	}
}
