"""A control point as async_upnp_client has it: what it sees, a line of JSON each.

Usage: control_point.py URL-OF-A-DESCRIPTION ADDRESS-TO-LISTEN-AT PORT
"""

import asyncio
import json
import re
import sys
from datetime import timedelta

from async_upnp_client.aiohttp import AiohttpNotifyServer, AiohttpRequester
from async_upnp_client.client_factory import UpnpFactory

# Longer than anything takes that must come.
PATIENCE = 20

SERVICE = "urn:schemas-upnp-org:service:RenderingControl:1"


def say(**what):
    print(json.dumps(what), flush=True)


async def main(description, address, port):
    requester = AiohttpRequester(timeout=PATIENCE)
    device = await UpnpFactory(requester).async_create_device(description)
    service = device.service(SERVICE)
    say(device=device.device_type, events=service.event_sub_url, control=service.control_url)

    notify = AiohttpNotifyServer(requester, (address, int(port)))
    await notify.async_start_server()
    handler = notify.event_handler
    numbers, volumes = [], asyncio.Queue()

    def before(request):
        numbers.append(int(request.headers["SEQ"]))
        return request

    def changed(_service, variables):
        for variable in variables:
            found = re.search(r'<Volume val="(\d+)"', str(variable.value))
            if found:
                volumes.put_nowait(int(found.group(1)))

    async def event():
        volume = await asyncio.wait_for(volumes.get(), PATIENCE)
        say(event=volume, numbers=numbers)

    async def set_volume(volume):
        await service.action("SetVolume").async_call(InstanceID=0, Channel="Master", DesiredVolume=volume)

    handler.on_pre_notify = before
    service.on_event = changed
    sid, lease = await handler.async_subscribe(service, timedelta(seconds=300))
    say(subscribed=lease.seconds)
    await event()
    await set_volume(37)
    await event()
    renewed, lease = await handler.async_resubscribe(service, timedelta(seconds=600))
    say(renewed=lease.seconds, same=renewed == sid)
    await set_volume(62)
    await event()
    await handler.async_unsubscribe(service)
    say(unsubscribed=True)
    await notify.async_stop_server()


asyncio.run(main(*sys.argv[1:]))
