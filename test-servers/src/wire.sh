# Lays a wire from this network namespace to that of process $1, and leads the loopback there over it: who connects to
# 127.0.0.1 there reaches the servers here, which listen on loopback only; 127.0.0.2 is the other side's own.
# Our end is called "near". When it is down, the other side cannot tell: it keeps its route, and knows the address of our end
# for good, so what it sends goes and is lost.
there="nsenter --net=/proc/$1/ns/net --"

ip link add near address 02:00:00:00:00:01 type veth peer name far address 02:00:00:00:00:02 netns "$1"
ip addr add 10.77.0.1/30 dev near
ip link set near up
echo 1 >/proc/sys/net/ipv4/conf/near/route_localnet

$there ip link set lo up
$there ip addr add 10.77.0.2/30 dev far
$there ip link set far up
$there sh -c 'echo 1 >/proc/sys/net/ipv4/conf/far/route_localnet'
$there ip route del local 127.0.0.0/8 dev lo table local
$there ip route del local 127.0.0.1 dev lo table local
$there ip route add local 127.0.0.2 dev lo table local
$there ip neigh add 10.77.0.1 lladdr 02:00:00:00:00:01 nud permanent dev far
$there ip route add 127.0.0.1 via 10.77.0.1 dev far src 10.77.0.2
