"""A page that classifies images in the browser, with the network and what runs it beside it, and no server behind it.

Nothing is imported here: `leannet.deploy.web.page` writes the page, `leannet.deploy.web.archive` fetches
onnxruntime-web. What the page consists of lies in the folder ``site`` and is copied as it is; all that depends on the
network stands in the ``model.json`` that is written beside it.
"""
